"""TensorBoard's HParams tab as TensorBoard itself makes it of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard import context
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

Row = tuple[dict[str, Any], dict[str, float], list[str]]
"""Hyperparameters, mean metrics, names of the runs."""


def tab_of(folder: Path) -> tuple[dict[str, list[Any]], dict[str, Row]]:
    """Hyperparameter -> its values; and the rows of the tab by their names."""
    read = EventMultiplexer().AddRunsFromDirectory(str(folder))
    read.Reload()
    backend = backend_context.Context(
        TBContext(data_provider=MultiplexerDataProvider(read, str(folder)))
    )
    asked = context.RequestContext()
    about = backend.hparams_metadata(asked, "0")
    known = backend.hparams_from_data_provider(asked, "0", limit=1000)
    experiment = backend.experiment_from_metadata(asked, "0", True, about, known)
    values = {
        info.name: [_plain(value) for value in info.domain_discrete.values]
        for info in experiment.hparam_infos
    }
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=1000,
        aggregation_type=api_pb2.AGGREGATION_AVG,
        allowed_statuses=[api_pb2.STATUS_SUCCESS],
    )
    for metric in experiment.metric_infos:
        request.col_params.add(metric=metric.name)
    found = list_session_groups.Handler(asked, backend, "0", request).run()
    rows = {
        group.name: (
            {name: _plain(value) for name, value in group.hparams.items()},
            {one.name.tag: one.value for one in group.metric_values},
            [session.name for session in group.sessions],
        )
        for group in found.session_groups
    }
    return values, rows


def _plain(value: Any) -> Any:
    return getattr(value, value.WhichOneof("kind"))
