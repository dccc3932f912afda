"""Trains the ranker that comes with the program, on the reading lists of a benchmark.

    papers ─→ encoder without likes ─┐
    likes, all or a few of them ─────┴→ past days of each reader alone ─→ pretrained ranker

Each reader is the only subscriber of an installation: nothing of other readers reaches the encoder
or the features. Each counts twice, with and without the interests text, so that the ranker does
well with either. The answers of the benchmark are not read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from triage.domain.protocols import Progress, silent
from triage.domain.records import F64
from triage.ranking.cold_start import ColdStartScorer
from triage.ranking.features import FEATURES
from triage.ranking.lambdamart import LambdaMartScorer
from triage.ranking.linear_scorer import N_CONTEXTS
from triage.ranking.serving.model_store import ModelStore
from triage.training.dataset import History
from triage.training.evaluation.benchmark import Benchmark, encode_alone

