"""Settings of the property tests: the same examples in every run, and no deadline.

`HYPOTHESIS_PROFILE=search` looks for new examples instead, many more of them.
"""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=60)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))
