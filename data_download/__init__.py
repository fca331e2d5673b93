"""Fetch the public data sets of the book into the cache folder.

Run ``python -m data_download lidc`` from the root of the repository; ``--list`` says what there
is. Every data set has a module of its own and an entry in `data_download.registry`.
"""
