"""Read a folder, archive, array, LMDB or named set of pictures into one checked uint8 array.

A picture passes through these modules: `catalog` finds the path of a named set. `containers` reads
the bytes of the picture. `decode` converts it to RGB, grey or RGBA. `source` checks the set. `fit`
crops, pads or stretches the picture to the generator's size. `cached_array` stores all pictures as
one array. `sampler` chooses the next batch.
"""
