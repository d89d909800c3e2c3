"""How fast the project trains, evaluates and reads its data, beside the bare step and beside other pipelines on the same images.

Everything is a ratio within one process, from interleaved rounds: see ``rounds``. ``benchmarks/speed.py`` is the command line.
"""
