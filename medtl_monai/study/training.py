"""One training of a bundle in this process, through MONAI's ConfigWorkflow, and what the study keeps of it."""

from __future__ import annotations

import hashlib
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism

from medtl_monai.errors import ConfigError, MedTLError
from medtl_monai.networks.staged import StagedNetwork, parameter_count
from medtl_monai.study.job import Job, Result
from medtl_monai.workflows.batches import NAMELESS, batch_cases


@dataclass
class Watch:
    """What engine handlers see: losses of the running epoch, the order of batches, the names of judged cases."""

    losses: list[float]
    batches: Any
    drawn: int
    judged: list[str]


def train(job: Job) -> Result:
    """Train, judge the final weights, and return the scores.

    Raises:
        MedTLError: the bundle refuses, the loss or the score is not finite, or the evaluator has no such metric.
    """
    start = time.perf_counter()
    if job.bundle not in sys.path:
        sys.path.insert(0, job.bundle)  # where a bundle keeps code of its own
    workflow = ConfigWorkflow(
        config_file=job.config, meta_file=None, logging_file=False, workflow_type="train", **job.options
    )
    head = initial_head(workflow, job.seed)
    workflow.initialize()
    trainer, evaluator = (workflow.parser.get_parsed_content(name) for name in ("train#trainer", "validate#evaluator"))
    watch = attach_watch(trainer, evaluator)
    workflow.run()
    metric = job.metric or evaluator.state.key_metric_name
    network = trainer.network
    return Result(
        metric=metric,
        score=final_score(evaluator, metric),
        train_loss=sum(watch.losses) / len(watch.losses) if watch.losses else math.nan,
        seconds=time.perf_counter() - start,
        trainable=sum(value.numel() for value in network.parameters() if value.requires_grad),
        parameters=parameter_count(network),
        cases=len(watch.judged),
        network=getattr(network, "architecture", "") or type(network).__name__,
        draw=hash_words(drawn_cases(workflow)),
        head=head,
        batches=watch.batches.hexdigest()[:12] if watch.drawn else "",
        case_scores=case_scores(evaluator, metric, watch.judged),
    )


def initial_head(workflow: ConfigWorkflow, seed: int) -> str:
    """Hash of the task's layers as they are before a source is loaded; empty for networks without stages."""
    set_determinism(seed=seed)
    network = workflow.parser.get_parsed_content("network_def", default=None)
    if not isinstance(network, StagedNetwork):
        return ""
    return hash_stages(network)


def hash_stages(network: StagedNetwork) -> str:
    """Hash of the parameters of the task's stages, bit by bit."""
    found = hashlib.sha256()
    for stage in network.task_stages:
        for value in network.stage_parameters(stage):
            found.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:12]


def hash_words(words: Sequence[str]) -> str:
    """Hash of names in their order."""
    return hashlib.sha256("\n".join(words).encode("utf-8", errors="replace")).hexdigest()[:12] if words else ""


def drawn_cases(workflow: ConfigWorkflow) -> list[str]:
    """Names of the training cases, in order; empty if the bundle's data are no list of dictionaries."""
    data = workflow.parser.get_parsed_content("train#dataset#data", default=None)
    if not isinstance(data, Sequence) or not all(isinstance(item, Mapping) for item in data):
        return []
    return [str(item.get("case") or item.get("image")) for item in data]


def attach_watch(trainer: Engine, evaluator: Engine) -> Watch:
    """Note losses, the order of the batches and the judged cases from now on."""
    watch = Watch([], hashlib.sha256(), 0, [])

    def note_step(engine: Engine) -> None:
        output = engine.state.output
        items = output if isinstance(output, list) else [output]
        watch.losses.append(sum(float(item["loss"]) for item in items) / len(items))
        if not math.isfinite(watch.losses[-1]):
            raise MedTLError("the training loss is not finite", got=f"{watch.losses[-1]} at {engine.state.iteration}")

    def note_batch(engine: Engine) -> None:
        watch.batches.update("\n".join([*batch_cases(engine.state.batch), ""]).encode("utf-8", errors="replace"))
        watch.drawn += 1

    trainer.add_event_handler(Events.EPOCH_STARTED, lambda engine: watch.losses.clear())
    trainer.add_event_handler(Events.ITERATION_STARTED, note_batch)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, note_step)
    evaluator.add_event_handler(Events.STARTED, lambda engine: watch.judged.clear())
    evaluator.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: watch.judged.extend(batch_cases(engine.state.batch))
    )
    return watch


def final_score(evaluator: Engine, metric: str) -> float:
    """The score of the last judgement. Raises ConfigError or MedTLError: there is none, or it is not finite."""
    metrics = getattr(evaluator.state, "metrics", {})
    if metric not in metrics:
        raise ConfigError("the evaluator has no such metric", expected=f"one of {sorted(metrics)}", got=metric)
    score = float(metrics[metric])
    if not math.isfinite(score):
        raise MedTLError("the score is not finite", expected="a finite score", got=f"{metric} {score}")
    return score


def case_scores(evaluator: Engine, metric: str, names: list[str]) -> list[tuple[str, float]]:
    """Score of each judged case, mean over the channels that have one; empty if the metric keeps no details."""
    details = getattr(evaluator.state, "metric_details", {}).get(metric)
    if not isinstance(details, torch.Tensor) or details.dim() == 0 or len(details) != len(names):
        return []
    means = torch.nanmean(details.double().reshape(len(names), -1), dim=1).tolist()
    unnamed = len(set(names)) < len(names) or NAMELESS in names
    labels = [f"number {index + 1}" for index in range(len(names))] if unnamed else names
    return list(zip(labels, means, strict=True))
