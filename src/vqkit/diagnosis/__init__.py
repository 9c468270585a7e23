"""The codebook doctor: what is wrong with a quantizer on given vectors, why, and what a change would gain.

vectors ─ two halves ─ traced while the quantizer encodes ─ numbers ─┐
            └─ copies refitted, revived, rescaled, rotated, resized ─┴─ causes, each with a change and its measured gain
"""

from vqkit.diagnosis.examination import Examination
from vqkit.diagnosis.examine import doctor
from vqkit.diagnosis.finding import Cause, Finding, Gain, Severity
from vqkit.diagnosis.measures import Measures

__all__ = ["Cause", "Examination", "Finding", "Gain", "Measures", "Severity", "doctor"]
