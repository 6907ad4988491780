"""The verdict: what to use, in words that the figures bear."""

from __future__ import annotations

from fastdraft_core.bench.verdict import verdict
from fastdraft_core.events import PointMeasured
from tests.bench.points import measured, predicted, result


def words(*points: PointMeasured, **changes: object) -> str:
    return " ".join(verdict(result(*points, **changes)).words)  # type: ignore[arg-type]


def test_the_first_sentence_is_the_answer() -> None:
    """Draft, gamma, speed-up with its interval on every task, and what it costs in memory."""
    found = verdict(
        result(
            measured("M", 4, "code", 1.9),
            measured("M", 4, "text", 1.4),
            measured("S", 2, "code", 1.5),
            measured("S", 2, "text", 1.3),
        )
    )
    assert found.words[0] == (
        "Use draft M with gamma 4: 1.90x (1.86–1.94) on code, 1.40x (1.37–1.43) on text, 27 MB more memory."
    )
    assert (found.draft, found.gamma, found.blame) == ("M", 4, None)
    # 1 + 4 · 0.6 = 3.4 tokens at 1.9 times the speed are 1.79 steps, of which a fifth drafts and seven tenths verify.
    assert found.words[1] == (
        "On code a block of M gives 3.40 tokens for 1.79 steps (60% of 4.0 drafted accepted, c 0.090, v 1.25); one of S, at its "
        "best with gamma 2, 2.20 tokens for 1.47 steps (60% of 2.0 drafted accepted, c 0.147, v 1.03)."
    )
    assert "drafted accepted" not in words(measured("M", 4, "code", 1.9)), "there is no other"


def test_the_recommendation_is_best_on_the_whole() -> None:
    """Not the highest single figure: 2.5x on code and 0.8x on text is less than 1.6x on both."""
    text = words(
        measured("M", 4, "code", 2.5),
        measured("M", 4, "text", 0.8),
        measured("S", 2, "code", 1.6),
        measured("S", 2, "text", 1.6),
    )
    assert text.startswith("Use draft S with gamma 2")
    assert "For code alone, draft M with gamma 4 is faster: 2.50x (2.45–2.55)." in text


def test_what_was_only_predicted_is_called_so() -> None:
    """A task without a measurement gets no measured-looking figure."""
    found = verdict(
        result(measured("S", 2, "code", 1.6), predicted("S", 2, "code", 1.6), predicted("S", 2, "text", 1.35))
    )
    assert "1.60x (1.57–1.63) on code, about 1.35x predicted on text" in found.words[0]


def test_a_task_that_loses_is_named() -> None:
    """Where the recommendation is slower than nothing, speculation is to be left off."""
    text = words(measured("S", 2, "code", 2.0), measured("S", 2, "text", 0.9))
    assert text.startswith("Use draft S with gamma 2")
    assert "On text it loses: leave speculation off there." in text
    assert "may be no gain: the interval includes 1" in words(
        measured("S", 2, "code", 2.0), measured("S", 2, "text", 1.01)
    )


def test_when_nothing_wins_it_says_so_and_why() -> None:
    """The term to blame and the break-even acceptance, as measured at the best point."""
    found = verdict(
        result(
            measured("S", 1, "code", 0.9, acceptance=0.3),
            measured("S", 2, "code", 0.8, acceptance=0.2),
            tasks=("code",),
        )
    )
    text = " ".join(found.words)
    assert found.words[0] == "Leave speculation off: at best, draft S with gamma 1 reaches 0.90x (0.88–0.92) on code."
    assert (found.draft, found.gamma) == (None, None)
    assert found.blame == "acceptance"
    assert found.break_even == 0.4
    assert "too few drafted tokens are accepted" in text
    assert "Break-even acceptance there is 40%; measured 30%." in text


def test_a_gain_within_noise_is_none() -> None:
    """1.01x (0.98–1.04) is no recommendation."""
    found = verdict(result(measured("S", 1, "code", 1.01, reach=1.03), tasks=("code",)))
    assert found.words[0].startswith("No gain that can be told from noise: at best, draft S")
    assert found.draft is None
    assert "most are lost to refused tokens" in found.words[1]
    assert "break-even acceptance is 40%, measured 60%" in found.words[1]


def test_a_gain_in_places_says_what_is_lost_elsewhere() -> None:
    """1.2x on code and 0.7x on text is no recommendation; the term to blame is that of the place that loses."""
    points = [measured("S", 2, "code", 1.2), measured("S", 2, "text", 0.7, acceptance=0.1)]
    text = words(*points)
    assert text.startswith("Speculation pays only in places: draft S with gamma 2 reaches 1.20x")
    assert "On text that setting reaches 0.70x (0.69–0.71)." in text
    assert "break-even acceptance is 40%, measured 10%" in text


def test_how_well_the_prediction_did_is_said() -> None:
    """R² and worst error over what was measured, how much was not measured, and which intervals stayed wide."""
    points = [
        measured("S", 1, "code", 1.2),
        measured("S", 2, "code", 1.5),
        measured("S", 4, "code", 2.0, reach=1.1),
    ]
    guesses = [predicted("S", gamma, "code", s) for gamma, s in ((1, 1.2), (2, 1.6), (4, 2.0))]
    found = verdict(result(*points, *guesses, tasks=("code",), drafts=("S",)))
    text = " ".join(found.words)
    assert found.r_squared is not None
    assert 0.9 < found.r_squared < 1
    assert found.max_error is not None
    assert abs(found.max_error - 0.1 / 1.5) < 1e-9
    assert "3 of 3 points measured; the prediction met the measured ones with R² 0.97, worst error 7%." in text
    assert "At 1 of them the interval stayed wider than ±3%." in text
    few = verdict(result(*points[:2], *guesses, tasks=("code",)))
    assert few.r_squared is None, "two points fit any line"
    assert "2 of 6 points measured, 4 predicted only." in " ".join(few.words)


def test_a_busy_machine_is_mentioned() -> None:
    """Figures that another program disturbed are not passed off as quiet ones."""
    assert "The machine was busy all the time" in words(measured(busy=2))
    assert "The machine was busy during 1 of 2 turns" in words(measured(busy=1))
    assert "The machine was busy" not in words(measured(disturbed=3))


def test_nothing_measured_is_said() -> None:
    """A budget that ended too early has a prediction, or nothing, and says how to go on."""
    assert verdict(result()).words == [
        "Nothing was measured before the end. Give a larger --budget, or go on with --resume."
    ]
    found = verdict(result(predicted("S", 2, "code", 1.7), predicted("S", 4, "code", 1.2)))
    assert found.words == [
        "Nothing was measured before the end. Predicted best: draft S with gamma 2, about 1.70x on code. Go on with --resume."
    ]
    assert (found.draft, found.measured, found.predicted) == (None, 0, 2)


def test_what_did_not_run_the_fast_way_is_said_once() -> None:
    """A draft that drafts step by step at a high gamma is slower for a reason that no figure shows."""
    why = "M drafts step by step at gamma 4: graphs for blocks of so many lengths would take over 1 GiB"
    text = words(
        measured("M", 4, "code", 1.9, fallback=why),
        measured("M", 4, "text", 1.4, fallback=why),
        measured("S", 2, "code", 1.5),
    )
    assert text.count(f"Not the fast way: {why}.") == 1
