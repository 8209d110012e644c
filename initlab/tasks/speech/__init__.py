"""Speech: recordings in, sequences and a metric out. Each factory here can be named in the configuration."""

from initlab.tasks.speech.fsdd import fsdd
from initlab.tasks.speech.packaged import fsdd_mfcc
from initlab.tasks.speech.task import SpeechData, SpeechTask

__all__ = ["SpeechData", "SpeechTask", "fsdd", "fsdd_mfcc"]
