"""Five small segmentation networks, trained from scratch by a seeded script.

The networks are architectures of well-known papers, shrunk to about four million parameters
each. They are not the published models, and their numbers do not stand in for those.
"""
