"""The server's part of encrypted rounds: loads the initial tensors, saves each aggregate and collects the scores."""

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
"""Name of the component that converts an aggregate to a task."""

AGGREGATE, SCORES = "aggregate.safetensors", "scores.json"
"""Files of the job's result: the last aggregate, encrypted, and the scores of the sites."""


class EncryptedAggregate(LearnablePersistor):  # type: ignore[misc]
    """Loads the initial tensors of the job, which are not secret, and saves each aggregate in encrypted form."""

    def load(self, fl_ctx: FLContext) -> ModelLearnable:
        """Loads the initial tensors of the job as arrays, as NVFlare's components expect."""
        config = fl_ctx.get_engine().get_workspace().get_app_config_dir(fl_ctx.get_prop(ReservedKey.RUN_NUM))
        initial = load_file(Path(config) / INITIAL)
        return make_model_learnable({name: value.float().numpy() for name, value in initial.items()}, {})

    def save(self, learnable: ModelLearnable, fl_ctx: FLContext) -> None:
        """Writes the ciphertext of each tensor as bytes."""
        texts = {name: value.serialize() for name, value in learnable[ModelLearnableKey.WEIGHTS].items()}
        tensors = {name: torch.frombuffer(bytearray(text), dtype=torch.uint8) for name, text in texts.items()}
        write_whole(_result(fl_ctx) / AGGREGATE, save(tensors))


class LastAggregate(ResponseProcessor):  # type: ignore[misc]
    """Sends the last aggregate to the sites, which have the key, and collects their scores."""

    def __init__(self) -> None:
        super().__init__()
        self._scores: dict[str, Any] = {}

    def create_task_data(self, task_name: str, fl_ctx: FLContext) -> Shareable:
        """Builds the task with the last aggregate."""
        self._scores = {}
        generator = fl_ctx.get_engine().get_component(GENERATOR)
        task: Shareable = generator.learnable_to_shareable(fl_ctx.get_prop(AppConstants.GLOBAL_MODEL), fl_ctx)
        return task

    def process_client_response(self, client: Client, task_name: str, response: Shareable, fl_ctx: FLContext) -> bool:
        """Adds the score of a site, or its error message."""
        try:
            self._scores[client.name] = json.loads(message_values(response, client.name)["score"])
        except SiteError as error:
            self._scores[client.name] = {"error": str(error)}
        return True

    def final_process(self, fl_ctx: FLContext) -> bool:
        """Writes the scores to the result of the job."""
        write_whole(_result(fl_ctx) / SCORES, json.dumps(dict(sorted(self._scores.items())), indent=2))
        return True


def _result(fl_ctx: FLContext) -> Path:
    """Returns the folder of the job's result."""
    return Path(fl_ctx.get_engine().get_workspace().get_run_dir(fl_ctx.get_prop(ReservedKey.RUN_NUM))) / "fedmed"
