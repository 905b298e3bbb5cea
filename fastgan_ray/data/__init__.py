"""From a folder, zip, LMDB or named set of pictures to one checked uint8 array.

A picture's way: `catalog` (a name or path), `containers` (its bytes), `decode` (RGB), `source` (the
checked set), `fit` (a square), `cached_array` (all as one array), `sampler` (the next batch).
"""
