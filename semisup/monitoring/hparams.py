"""What TensorBoard's HParams tab compares the runs of a study by, as files of its events.

The files have no time in them: the same runs give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DataType,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
    Status,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import (
    HParamsPluginData,
    SessionEndInfo,
    SessionStartInfo,
)
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import scalar

FILE = "events.out.tfevents.0"
"""Name of each file: what TensorBoard knows it by, with a zero for the second."""

Value = float | str


@dataclass(frozen=True)
class Session:
    """A run.

    Attributes:
        name: folder of its file; may have no slash.
        group: of runs that are one row of the tab, with the means of their metrics.
        values: hyperparameter -> value, the same for all runs of a group.
        metrics: tag -> final value.
        step: that the metrics are of.
    """

    name: str
    group: str
    values: Mapping[str, Value]
    metrics: Mapping[str, float]
    step: int


def event_files(sessions: Sequence[Session]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of a folder for TensorBoard.

    The first one states the hyperparameters with all of their values, and the metrics; each other
    one is a run.

    Args:
        sessions: the runs.
    """
    values: dict[str, dict[Value, None]] = {}
    metrics: dict[str, None] = {}
    for one in sessions:
        metrics |= dict.fromkeys(one.metrics)
        for name, value in one.values.items():
            values.setdefault(name, {})[value] = None
    experiment = Experiment(
        hparam_infos=[_info(name, list(found)) for name, found in values.items()],
        metric_infos=[MetricInfo(name=MetricName(tag=tag)) for tag in metrics],
    )
    stated = HParamsPluginData(experiment=experiment)
    yield FILE, _events([(_about(metadata.EXPERIMENT_TAG, stated), 0)])
    for one in sessions:
        start = SessionStartInfo(group_name=one.group)
        for name, value in one.values.items():
            kind = "string_value" if isinstance(value, str) else "number_value"
            setattr(start.hparams[name], kind, value)
        end = SessionEndInfo(status=Status.Value("STATUS_SUCCESS"))
        begun = HParamsPluginData(session_start_info=start)
        ended = HParamsPluginData(session_end_info=end)
        summaries = [
            (_about(metadata.SESSION_START_INFO_TAG, begun), 0),
            *((scalar(tag, value), one.step) for tag, value in one.metrics.items()),  # type: ignore[no-untyped-call]
            (_about(metadata.SESSION_END_INFO_TAG, ended), 0),
        ]
        yield f"{one.name}/{FILE}", _events(summaries)


def _info(name: str, values: Sequence[Value]) -> Any:
    """A hyperparameter with its values: numbers where all of them are."""
    words = any(isinstance(value, str) for value in values)
    kind = DataType.Value("DATA_TYPE_STRING" if words else "DATA_TYPE_FLOAT64")
    info = HParamInfo(name=name, type=kind)
    info.domain_discrete.extend(list(values))
    return info


def _about(tag: str, content: Any) -> Any:
    """What the HParams plug-in reads of a tag."""
    about = metadata.create_summary_metadata(content)
    value = Summary.Value(tag=tag, metadata=about, tensor=metadata.NULL_TENSOR)
    return Summary(value=[value])


def _events(summaries: Sequence[tuple[Any, int]]) -> bytes:
    """A file of events, each a summary and its step."""
    file = io.BytesIO()
    writer = RecordWriter(file)
    writer.write(Event(file_version="brain.Event:2").SerializeToString())
    for summary, step in summaries:
        writer.write(Event(summary=summary, step=step).SerializeToString(deterministic=True))
    return file.getvalue()
