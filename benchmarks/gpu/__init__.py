"""One program for a GPU: it shows that everything does there what it does on the CPU, and how fast.

    make gpu-wheels     # on a machine with a network: the packages that the GPU's machine lacks, as wheels
    make gpu            # on the GPU's machine, without a network

Without a GPU the same program runs with the CPU in the GPU's place, at small sizes.
"""
