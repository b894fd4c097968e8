"""Fuzzers for everything that reads bytes of strangers: ``python -m fuzz``.

`promises` and `decoders` say what must hold for any input, `engine` makes inputs from the seeds in
``seeds/`` (a directory for each decoder, a file for each seed). An input that breaks a
decoder is made smaller and saved; once the decoder is mended, it becomes a seed, and
``tests/test_fuzz_seeds.py`` replays it ever after.
"""
