"""Probes: measurements of a run on a schedule. They change no number of the training."""

from initlab.probes.attention import AttentionLayers
from initlab.probes.awaken import awakened
from initlab.probes.dead import DeadUnits
from initlab.probes.first_update import FirstUpdate, first_update
from initlab.probes.histograms import take_histograms
from initlab.probes.observer import Observer
from initlab.probes.profile import ProfileLog
from initlab.probes.recurrent import RecurrentLayers, lag_peak
from initlab.probes.snapshot import LayerSnapshot, Snapshot, snapshot
from initlab.probes.stream import StreamLook, look_at_stream
from initlab.probes.stream_forecast import StreamComparison, compare_stream
from initlab.probes.symmetry import unit_spread

__all__ = [
    "AttentionLayers",
    "DeadUnits",
    "FirstUpdate",
    "LayerSnapshot",
    "Observer",
    "ProfileLog",
    "RecurrentLayers",
    "Snapshot",
    "StreamComparison",
    "StreamLook",
    "awakened",
    "compare_stream",
    "first_update",
    "lag_peak",
    "look_at_stream",
    "snapshot",
    "take_histograms",
    "unit_spread",
]
