"""Token generators: a decoder-only transformer over the codes of any tokenizer. Ids go in and ids come out; it knows no modality.

`patterns` says which codes are predicted together, `heads` predict them, `token_generator` is the transformer, `generation` samples from
it, `packing` turns the codes of a quantizer into the ids that a generator has, and `bridge` turns pictures into conditions for music.
"""
