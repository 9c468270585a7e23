"""Limits on the contents of a ``.vqk`` file, so that no number in a damaged or hostile file decides how much is allocated.

With these limits reading a chunk takes at most about 32 MiB (15 measured), whatever the file says. The index takes some 400 bytes a chunk,
and a chunk at least 14 bytes of the file.
"""

FORMAT_VERSION = 3  # the newest; a file says the oldest that can read it
MAX_HEADER_BYTES = 1 << 20
MAX_CODES = 1024  # codes a frame, and so stages
MAX_CODE_SIZE = 1 << 32
MAX_CHUNK_FRAMES = 1 << 16
MAX_CHUNK_CODES = 1 << 18  # frames · codes a frame: 2 MiB as int64
MAX_CHUNK_BYTES = 1 << 21
MAX_GAP_FRAMES = 1 << 20  # a chunk that claims to come later than that is not believed
MAX_READ_CODES = 1 << 27  # of one `VqkReader.read`: 1 GiB as int64
MAX_COUNT = (1 << 62) - 1  # frames and samples
MAX_TEXT_BYTES = 1 << 16
MAX_METADATA = 256  # entries
MAX_DIMENSIONS = 8  # of a grid or an image
MAX_DIMENSION = 1 << 24
MAX_RATE = 1 << 32  # Hz, samples a hop
MAX_TABLE_SIZE = 1 << 16  # a larger alphabet has no table of probabilities: its codes count as equally likely
MAX_COUNT_WORK = (
    1 << 20
)  # frames · (stages + 256) of a chunk that says how many stages each frame has: they are decoded one by one
MAX_CONTEXT_WORK = 1 << 26  # frames · Σ (alphabet + 512) in a stage of a chunk with contexts: about a second
MAX_CLASSES = 64  # of contexts
MAX_NETWORK_DIM = 64  # numbers of a code vector
MAX_NETWORK_WIDTH = 256  # of a hidden layer: sums of 256 products of 8-bit numbers are exact in float32
MAX_NETWORK_WORK = 1 << 30  # frames · Σ products of a step in a stage of a chunk with networks: about two seconds
