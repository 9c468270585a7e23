"""Compare quantizers on one backbone, one data set and one budget, at known rates."""

from vqkit.moved import keep_old_names

_EVALUATE = "codec_demo codecs coded_parts excerpts listeners rate_quality rate_rows"
keep_old_names(
    __name__,
    {
        **{name: f"vqkit.evaluate.{name}" for name in _EVALUATE.split()},
        "cache": "vqkit.cache",
        "code_digest": "vqkit.code_digest",
    },
)
