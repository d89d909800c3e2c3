"""The largest numbers that make sense on a command line or in a config: above them a computer only fails in its own way."""

SEEDS = 2**32  # NumPy's generators take 32 bits
MOST_EPOCHS = 10**6
MOST_ITERATIONS = 10**8
MOST_SEEDS = 10**4  # runs of a row
MOST_THREADS = 1024
MOST_JOBS = 256  # processes side by side
MOST_PIXELS = 4096  # of the side of an image
