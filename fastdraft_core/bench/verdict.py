"""What to use, in words: from what a sweep measured, and only where it must from what it predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastdraft_core.bench.surface import fit
from fastdraft_core.decoding.explain import blame, what_limits, why_slower
from fastdraft_core.events import PointMeasured, PointPredicted, SweepVerdict
from fastdraft_core.events.sweeping import PointKey, Setting
from fastdraft_core.results.overall import fallbacks, overall, recommended
from fastdraft_core.results.store import Result

#: Fewer points say nothing about a prediction.
_FEWEST = 3


def verdict(result: Result) -> SweepVerdict:
    """The recommendation over all tasks and temperatures, and how far it can be trusted."""
    measured, predicted = result.measured, result.predicted
    found = recommended(measured)
    setting = found[0] if found else None
    wins = setting is not None and _wins(_of(measured, setting))
    shared = [key for key in measured if key in predicted]
    r_squared, max_error = None, None
    if len(shared) >= _FEWEST:
        r_squared, max_error = fit([measured[k].speedup for k in shared], [predicted[k].speedup for k in shared])
    if setting is None:
        words = _nothing_measured(result)
    elif wins:
        words = _use(result, setting)
    else:
        words = _pays_nowhere(result)
    best = max(measured.values(), key=lambda p: p.speedup, default=None)
    return SweepVerdict(
        words=[sentence for sentence in (*words, *_trust(result, r_squared, max_error)) if sentence],
        draft=setting[0] if wins and setting else None,
        gamma=setting[1] if wins and setting else None,
        blame=None if wins or best is None else blame(best.cost, best.metrics),
        break_even=None if wins or best is None else best.cost.break_even,
        measured=len(measured),
        predicted=len(predicted),
        r_squared=r_squared,
        max_error=max_error,
    )


def _of(measured: Mapping[PointKey, PointMeasured], setting: Setting) -> list[PointMeasured]:
    return [point for key, point in measured.items() if key.setting == setting]


def _wins(points: list[PointMeasured]) -> bool:
    """Faster on the whole, and for certain somewhere."""
    mean = sum(math.log(p.speedup) for p in points) / len(points)
    return mean > 0 and any(p.low > 1 for p in points)


def _use(result: Result, setting: Setting) -> list[str]:
    points = _of(result.measured, setting)
    figures = [f"{_figure(p)} on {result.label(p.task, p.temperature)}" for p in points]
    for task, temperature in result.groups:
        guess = result.predicted.get(PointKey(*setting, temperature, task))
        if guess and guess.key not in result.measured:
            figures.append(f"about {guess.speedup:.2f}x predicted on {result.label(task, temperature)}")
    memory = max(p.more_memory for p in points) / 1e6
    words = [
        f"Use draft {setting.draft} with gamma {setting.gamma}: {', '.join(figures)}, {memory:.0f} MB more memory."
    ]
    words += [_against_the_next(result, point) for point in points]
    for point in points:
        label = result.label(point.task, point.temperature)
        other = _best_of(result, point)
        if other.low > point.high:
            words.append(
                f"For {label} alone, draft {other.draft} with gamma {other.gamma} is faster: {_figure(other)}."
            )
        elif point.high < 1:
            words.append(f"On {label} it loses: leave speculation off there.")
        elif point.low <= 1:
            words.append(f"On {label} it may be no gain: the interval includes 1.")
    return words


def _against_the_next(result: Result, point: PointMeasured) -> str:
    """Why this way to draft and not the next best one, in what was measured of a block; empty where there is no other."""
    others = [
        p
        for p in result.measured.values()
        if (p.task, p.temperature) == (point.task, point.temperature) and p.draft != point.draft
    ]
    if not others:
        return ""
    following = max(others, key=lambda p: p.speedup)
    return (
        f"On {result.label(point.task, point.temperature)} a block of {point.draft} gives {_block(point)}; one of "
        f"{following.draft}, at its best with gamma {following.gamma}, {_block(following)}."
    )


def _block(point: PointMeasured) -> str:
    """What a mean block gives and costs."""
    cost = point.cost
    return (
        f"{point.metrics.tau:.2f} tokens for {cost.total:.2f} steps ({point.metrics.acceptance:.0%} of {cost.drafted:.1f} drafted "
        f"accepted, c {cost.draft:.3f}, v {cost.verify:.2f})"
    )


def _best_of(result: Result, point: PointMeasured) -> PointMeasured:
    """The best measured point of the same task and temperature."""
    group = [p for p in result.measured.values() if (p.task, p.temperature) == (point.task, point.temperature)]
    return max(group, key=lambda p: p.speedup)


def _pays_nowhere(result: Result) -> list[str]:
    best = max(result.measured.values(), key=lambda p: p.speedup)
    where = f"draft {best.draft} with gamma {best.gamma} reaches {_figure(best)} on {result.label(best.task, best.temperature)}"
    if best.low > 1:
        worst = min((p for p in result.measured.values() if _same_setting(p, best)), key=lambda p: p.speedup)
        there = f"On {result.label(worst.task, worst.temperature)} that setting reaches {_figure(worst)}."
        words = [f"Speculation pays only in places: {where}, and no setting is faster on the whole."]
        return [*words, *([there] if worst is not best else []), what_limits(worst.cost, worst.metrics)]
    if best.high >= 1:
        return [f"No gain that can be told from noise: at best, {where}.", what_limits(best.cost, best.metrics)]
    even = f"Break-even acceptance there is {best.cost.break_even:.0%}; measured {best.metrics.acceptance:.0%}."
    return [f"Leave speculation off: at best, {where}.", why_slower(best.baseline, best.metrics), even]


def _same_setting(one: PointMeasured, other: PointMeasured) -> bool:
    return (one.draft, one.gamma) == (other.draft, other.gamma)


def _nothing_measured(result: Result) -> list[str]:
    if not result.predicted:
        return ["Nothing was measured before the end. Give a larger --budget, or go on with --resume."]
    best = _best_predicted(result.predicted)
    return [
        f"Nothing was measured before the end. Predicted best: draft {best.draft} with gamma {best.gamma}, about "
        f"{best.speedup:.2f}x on {result.label(best.task, best.temperature)}. Go on with --resume."
    ]


def _best_predicted(predicted: Mapping[PointKey, PointPredicted]) -> PointPredicted:
    means = overall({key: point.speedup for key, point in predicted.items()})
    setting = max(means, key=lambda s: means[s])
    return max((p for k, p in predicted.items() if k[:2] == setting), key=lambda p: p.speedup)


def _trust(result: Result, r_squared: float | None, max_error: float | None) -> list[str]:
    """What the figures rest on: how many are measured, how well the prediction did, and whether the machine was quiet."""
    words = []
    if result.measured:
        left = result.total - len(result.measured)
        text = f"{len(result.measured)} of {result.total} points measured" + (
            f", {left} predicted only" if left else ""
        )
        if r_squared is not None and max_error is not None:
            text += f"; the prediction met the measured ones with R² {r_squared:.2f}, worst error {max_error:.0%}"
        words.append(text + ".")
        wide = sum(not p.reached for p in result.measured.values())
        if wide:
            words.append(f"At {wide} of them the interval stayed wider than ±{result.plan.precision:.0%}.")
    words += [f"Not the fast way: {reason}." for reason in fallbacks(result.measured.values())]
    words += _noise(sum(p.busy for p in result.measured.values()), sum(len(p.turns) for p in result.measured.values()))
    return words


def _noise(busy: int, turns: int) -> list[str]:
    """What to think of turns that count although something disturbed them."""
    if not busy:
        return []
    if busy >= turns:
        return ["The machine was busy all the time: measure again when it has nothing else to do."]
    return [f"The machine was busy during {busy} of {turns} turns, which count all the same."]


def _figure(point: PointMeasured) -> str:
    return f"{point.speedup:.2f}x ({point.low:.2f}–{point.high:.2f})"
