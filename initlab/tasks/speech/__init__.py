"""Speech tasks: recordings are read as sequences. Each factory here can be named in the configuration."""

from initlab.tasks.speech.commands import speech_commands
from initlab.tasks.speech.folder import audio_folder
from initlab.tasks.speech.hf_audio import hf_audio
from initlab.tasks.speech.packaged import fsdd_mfcc
from initlab.tasks.speech.spoken_digits import fsdd
from initlab.tasks.speech.task import SpeechData, SpeechTask

__all__ = ["SpeechData", "SpeechTask", "audio_folder", "fsdd", "fsdd_mfcc", "hf_audio", "speech_commands"]
