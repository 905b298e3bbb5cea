"""Read a folder, zip, LMDB or named set of pictures into one checked uint8 array.

A picture passes through these modules: `catalog` (finds a name or path), `containers` (reads its
bytes), `decode` (makes it RGB), `source` (checks the set), `fit` (makes it square), `cached_array`
(stores all pictures as one array), `sampler` (chooses the next batch).
"""
