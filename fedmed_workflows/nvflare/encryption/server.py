"""The server's side of a federation whose updates are encrypted: what NVFlare's workflow begins with, and leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from nvflare.apis.client import Client
from nvflare.apis.fl_constant import ReservedKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.abstract.learnable_persistor import LearnablePersistor
from nvflare.app_common.abstract.model import ModelLearnable, ModelLearnableKey, make_model_learnable
from nvflare.app_common.abstract.response_processor import ResponseProcessor
from nvflare.app_common.app_constant import AppConstants
from safetensors.torch import load_file, save

from fedmed_transforms.whole_file import write_whole
from fedmed_workflows.errors import SiteError
from fedmed_workflows.nvflare.server.controller import INITIAL
from fedmed_workflows.nvflare.wire.messages import message_values

GENERATOR = "shareable_generator"
"""Id of the component that makes a task of an aggregate."""

AGGREGATE, SCORES = "aggregate.safetensors", "scores.json"
"""What the server leaves in the job's result: the last aggregate, encrypted, and the sites' scores."""


class EncryptedAggregate(LearnablePersistor):  # type: ignore[misc]
    """Begins with the job's initial tensors, which are no secret, and keeps each aggregate as the server has it."""

    def load(self, fl_ctx: FLContext) -> ModelLearnable:
        """The job's initial tensors as arrays, as NVFlare's components expect them."""
        config = fl_ctx.get_engine().get_workspace().get_app_config_dir(fl_ctx.get_prop(ReservedKey.RUN_NUM))
        initial = load_file(Path(config) / INITIAL)
        return make_model_learnable({name: value.float().numpy() for name, value in initial.items()}, {})

    def save(self, learnable: ModelLearnable, fl_ctx: FLContext) -> None:
        """Writes each tensor's ciphertext as bytes."""
        texts = {name: value.serialize() for name, value in learnable[ModelLearnableKey.WEIGHTS].items()}
        tensors = {name: torch.frombuffer(bytearray(text), dtype=torch.uint8) for name, text in texts.items()}
        write_whole(_result(fl_ctx) / AGGREGATE, save(tensors))


class LastAggregate(ResponseProcessor):  # type: ignore[misc]
    """After the last round: sends the aggregate to the sites, which alone can read it, and collects their scores."""

    def __init__(self) -> None:
        super().__init__()
        self._scores: dict[str, Any] = {}

    def create_task_data(self, task_name: str, fl_ctx: FLContext) -> Shareable:
        """The last aggregate."""
        self._scores = {}
        generator = fl_ctx.get_engine().get_component(GENERATOR)
        task: Shareable = generator.learnable_to_shareable(fl_ctx.get_prop(AppConstants.GLOBAL_MODEL), fl_ctx)
        return task

    def process_client_response(self, client: Client, task_name: str, response: Shareable, fl_ctx: FLContext) -> bool:
        """Takes up a site's score; a site that has none is named in it."""
        try:
            self._scores[client.name] = json.loads(message_values(response, client.name)["score"])
        except SiteError as error:
            self._scores[client.name] = {"error": str(error)}
        return True

    def final_process(self, fl_ctx: FLContext) -> bool:
        """Leaves the scores in the job's result."""
        write_whole(_result(fl_ctx) / SCORES, json.dumps(dict(sorted(self._scores.items())), indent=2))
        return True


def _result(fl_ctx: FLContext) -> Path:
    """The folder that comes back with the job's result."""
    return Path(fl_ctx.get_engine().get_workspace().get_run_dir(fl_ctx.get_prop(ReservedKey.RUN_NUM))) / "fedmed"
