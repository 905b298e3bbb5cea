"""Read the pictures of a folder, archive, .npy file, LMDB or named set into one uint8 array.

These modules are used in this order. `catalog` finds the path of a named set. `containers` reads
the bytes of each picture. `decode` converts the bytes to an RGB, grey or RGBA picture. `source`
checks the set. `fit` crops, pads or stretches each picture to the generator's size. `cached_array`
stores all pictures as one array. `sampler` chooses the next batch.
"""
