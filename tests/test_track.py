"""From pictures to tracks: centres, frame health, gaps, and whole clips with known truth."""

import cv2
import drawn
import numpy as np
import pytest
from conftest import SECTIONS, draw_ruler, ruler_pixels
from numpy.testing import assert_allclose

from rulerlab.errors import InputError
from rulerlab.rig import Rig, rig_from_dict
from rulerlab.segments import find_pull, load_curve, motion_of
from rulerlab.track import track
from rulerlab.track.colours import colour_hue, find_colours
from rulerlab.track.dots import find_spots, learn_look
from rulerlab.track.gaps import fill_gaps
from rulerlab.track.health import time_gaps
from rulerlab.track.tags import TagFollower, find_tags
from rulerlab.video import Recording

# --- dots in one picture -----------------------------------------------------------------------

DOTS = np.stack(np.meshgrid([60.3, 140.7, 220.1, 300.6], [50.4, 130.9, 200.2]), -1).reshape(-1, 2)


def dots_picture(centres, *, radius=7.3, colour=drawn.GREEN, siting=0.0, seed=0, noise=1.0,
                 number=0):
    canvas = drawn.paper(360, 240)
    for centre in centres:
        drawn.disc(canvas, centre, radius, colour)
    return drawn.frame(canvas, number, siting=siting, noise=noise, rng=np.random.default_rng(seed))


def spots_of(frames):
    look = learn_look(frames, find_colours(frames))
    return look, [find_spots(frame, look) for frame in frames]


def matched(spots, truth):
    """Error of every true centre, (n, 2)."""
    gap = np.linalg.norm(spots.position_px[:, None] - truth[None], axis=-1)
    assert len(spots) == len(truth) and gap.min(0).max() < 3
    return spots.position_px[gap.argmin(0)] - truth


@pytest.mark.parametrize(("colour", "limit"), [
    (drawn.GREEN, 0.05), (drawn.RED, 0.05), ((30, 80, 200), 0.05),
    ((240, 170, 20), 0.07),  # orange is nearly as bright as paper: little luma to go by
])
@pytest.mark.parametrize("siting", [0.0, 0.5])
def test_dots_of_any_colour_are_centred_to_a_few_hundredths_of_a_pixel(colour, limit, siting):
    truth = [DOTS + 0.31 * k for k in range(4)]
    frames = [dots_picture(t, colour=colour, siting=siting, seed=k) for k, t in enumerate(truth)]
    look, seen = spots_of(frames)
    assert look.siting_px == (siting, 0.5)
    error = np.concatenate([matched(s, t) for s, t in zip(seen, truth, strict=True)])
    assert np.abs(error.mean(0)).max() < 0.035
    assert np.sqrt((error**2).mean()) < limit


@pytest.mark.parametrize("apart", [13.5, 16.0, 20.0])
def test_dots_that_touch_are_two(apart):
    truth = np.concatenate([DOTS, DOTS[[1]] + [apart, 0.0], DOTS[[6]] + [0.0, apart]])
    frames = [dots_picture(truth, number=k, seed=k) for k in range(3)]
    frames.insert(0, dots_picture(DOTS))  # what one dot looks like
    _, seen = spots_of(frames)
    for spots in seen[1:]:
        assert np.abs(matched(spots, truth)).max() < (0.25 if apart > 14 else 1.0)


def test_two_alternating_colours_are_told_apart():
    canvas = drawn.paper(360, 240)
    for k, centre in enumerate(DOTS):
        drawn.disc(canvas, centre, 7.3, (drawn.RED, drawn.GREEN)[k % 2])
    frame = drawn.frame(canvas, noise=1.0, rng=np.random.default_rng(0))
    colours = find_colours([frame])
    assert len(colours) == 2
    found = find_spots(frame, learn_look([frame], colours))
    order = np.linalg.norm(found.position_px[:, None] - DOTS[None], axis=-1).argmin(0)
    own = found.colour[order]
    assert (own[::2] == own[0]).all() and (own[1::2] == own[1]).all() and own[0] != own[1]


def test_a_colour_is_asked_for_by_name_or_number():
    assert colour_hue("green") == pytest.approx(colour_hue("#14aa3c"), abs=25)
    canvas = drawn.paper(360, 240)
    for k, centre in enumerate(DOTS):
        drawn.disc(canvas, centre, 7.3, drawn.RED if k < 4 else drawn.GREEN)
    frame = drawn.frame(canvas, noise=1.0, rng=np.random.default_rng(0))
    (red,) = find_colours([frame], wanted=["red"])
    assert red.spots == pytest.approx(4)
    with pytest.raises(InputError, match="'gren'.*green"):
        colour_hue("gren")


def test_paper_alone_has_no_dots():
    assert find_colours([dots_picture(np.zeros((0, 2)))]) == []


# --- tags in one picture -----------------------------------------------------------------------

TAGS = np.array([[60.0, 60.0], [140.3, 70.6], [220.7, 90.2], [300.1, 60.5]])


def tags_picture(centres, *, size=30.0, turn=0.1, hidden=(), seed=0):
    canvas = drawn.paper(360, 160)
    for number, centre in enumerate(centres):
        drawn.tag(canvas, number, centre, size, turn=turn * number)
    for number in hidden:
        drawn.disc(canvas, centres[number], 0.8 * size, (210, 160, 130))
    canvas = cv2.GaussianBlur(canvas, (0, 0), 1.0)  # no lens is sharper than its pixels
    return drawn.frame(canvas, noise=1.5, rng=np.random.default_rng(seed)).luma


@pytest.mark.parametrize("size", [24.0, 34.0])
def test_tags_are_centred_to_a_few_hundredths_of_a_pixel(size):
    error = []
    for seed in range(6):
        truth = TAGS + np.random.default_rng(seed).uniform(-1, 1, TAGS.shape)
        found = find_tags(tags_picture(truth, size=size, seed=seed), "DICT_4X4_50", enlarge=2)
        assert sorted(found.ids) == [0, 1, 2, 3]
        error.append(found.centre_px - truth[found.ids])
    rms = np.sqrt(np.mean(np.square(error), axis=(0, 2)))
    assert rms[1:].max() < 0.06
    assert rms[0] < 0.08  # sides along the rows of pixels lean towards them


def test_a_tag_under_a_hand_is_left_out_and_found_again():
    follower = TagFollower("DICT_4X4_50")
    for t in range(14):
        truth = TAGS + [1.5 * t, 0.4 * t]
        hidden = (2,) if 4 <= t < 9 else ()
        found = follower.observe(tags_picture(truth, hidden=hidden, seed=t))
        wanted = [k for k in range(4) if k not in hidden]
        if t != 9:  # a moment to be read anew
            assert found.ids.tolist() == wanted, t
        assert np.abs(found.centre_px - truth[found.ids]).max() < 0.2


# --- frame health ------------------------------------------------------------------------------

def test_missing_frames_are_counted_where_the_rate_is_constant():
    time_s = np.delete(np.arange(60) / 30, [20, 41, 42])
    gaps = time_gaps(time_s)
    assert [missing for _, missing in gaps] == [1, 2]
    assert_allclose([at for at, _ in gaps], [19 / 30, 40 / 30])
    assert time_gaps(np.cumsum(np.random.default_rng(0).uniform(0.01, 0.06, 60))) == []


# --- gaps --------------------------------------------------------------------------------------

@pytest.mark.parametrize("rigid", [True, False])
def test_points_that_are_filled_in_lie_within_their_errors(rigid):
    z, size = [], []
    lengths = np.array([50.0, *[100.0] * 4, 50.0, 90.0])
    for seed in range(8):
        rng = np.random.default_rng(seed)
        truth = drawn.pulled_ruler(120, lengths, folded=0.2, opened=0.8)
        truth = truth + np.cumsum(rng.normal(scale=0.3, size=(120, 1, 2)), axis=0)  # a shaken hand
        seen = truth + rng.normal(scale=0.1, size=truth.shape)
        gone = np.zeros(truth.shape[:2], bool)
        for k in range(1, 7, 2):
            start = rng.integers(5, 105)
            gone[start : start + 8, k] = True
        seen[gone] = np.nan
        filled, covariance = fill_gaps(np.arange(120) / 30, seen, lengths if rigid else None,
                                       sigma=0.1)
        assert np.isfinite(filled).all()
        assert_allclose(filled[~gone], seen[~gone])
        sigma = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
        z.append((filled[gone] - truth[gone]) / sigma)
        size.append(filled[gone] - truth[gone])
    assert 0.3 < np.sqrt(np.mean(np.square(np.concatenate(z)))) < 1.4
    assert np.sqrt(np.mean(np.square(np.concatenate(size)))) < 2.0


# --- whole clips -------------------------------------------------------------------------------

def check(tracked, point_px, *, rms=0.15, found=0.995, visible=None, careful=0.6):
    """Found, no swaps, sub-pixel, and honest about it."""
    tracks = tracked.tracks
    visible = np.ones(point_px.shape[:2], bool) if visible is None else visible
    assert tracks.position_px.shape == point_px.shape
    error = tracks.position_px - point_px
    detected = (tracks.status == "detected") & visible
    assert detected.sum() >= found * visible.sum()
    neighbour = np.linalg.norm(np.diff(point_px, axis=1), axis=-1).min()
    far = np.linalg.norm(error[detected], axis=-1)
    assert far.max() < 0.3 * neighbour  # no point sits on another's place
    assert np.sqrt((error[detected] ** 2).mean()) < rms
    z = (error / tracks.sigma_px())[detected]
    assert careful < np.sqrt((z**2).mean()) < 1.35
    claimed = tracks.status == "predicted"
    if claimed.any():
        assert (np.abs(error / tracks.sigma_px())[claimed] < 5).mean() > 0.95


def test_a_ruler_of_one_colour_needs_no_rig_toml(ruler_clip):
    tracked = track(Recording(ruler_clip.path), Rig())
    assert (tracked.kind, tracked.marks, tracked.view) == ("ruler", "dots", None)
    check(tracked, ruler_clip.point_px)
    assert "points = 8 (counted)" in tracked.notes
    assert any("in pixels" in note for note in tracked.notes)
    assert_allclose(tracked.tracks.time_s, ruler_clip.time_s, atol=1e-4)


def test_other_things_of_that_colour_are_left_out_when_the_points_are_counted(clips):
    point_px = ruler_pixels(drawn.pulled_ruler(24, SECTIONS))

    def picture(points):
        canvas = draw_ruler(points)
        for place in ((60, 30), (130, 22), (260, 28), (400, 25), (440, 60)):
            drawn.disc(canvas, place, 6.5, drawn.GREEN)
        return canvas

    path = drawn.write_clip(clips / "clutter.mp4", map(picture, point_px), np.arange(24) / 30)
    tracked = track(Recording(path), rig_from_dict({"points": 8, "pull": "right"}))
    check(tracked, point_px, careful=0.45)


TURNS = {"right": lambda x, y: (40 + x, 200 - y), "left": lambda x, y: (440 - x, 200 - y),
         "up": lambda x, y: (200 + y, 440 - x), "down": lambda x, y: (200 + y, 40 + x)}


@pytest.mark.parametrize("pull", ["left", "up", "down"])
@pytest.mark.parametrize("told", [True, False])
def test_the_held_end_comes_first_whichever_way_the_hand_pulls(clips, pull, told):
    x, y = np.moveaxis(drawn.pulled_ruler(30, SECTIONS), -1, 0)
    point_px = np.stack(TURNS[pull](x, y), -1)
    path = clips / f"{pull}.mp4"
    if not path.exists():
        size = (480, 270) if pull == "left" else (400, 480)
        drawn.write_clip(path, (draw_ruler(p, canvas=drawn.paper(*size)) for p in point_px),
                         np.arange(30) / 30)
    tracked = track(Recording(path), Rig(pull=pull) if told else Rig())
    check(tracked, point_px)
    assert find_pull(motion_of(tracked)).travel_mm > 50


def test_two_colours_and_varying_frame_times(clips):
    rng = np.random.default_rng(5)
    time_s = np.cumsum(rng.choice([1 / 60, 1 / 30, 2 / 30], 40)) - 1 / 60
    point_px = ruler_pixels(drawn.pulled_ruler(40, SECTIONS))
    path = drawn.write_clip(
        clips / "two.mp4", (draw_ruler(p, colours=(drawn.RED, drawn.GREEN)) for p in point_px),
        time_s - time_s[0], siting=0.5)
    tracked = track(Recording(path), rig_from_dict({"kind": "ruler", "points": 8}))
    check(tracked, point_px)
    assert_allclose(tracked.tracks.time_s, time_s - time_s[0], atol=1e-4)
    assert tracked.health["gaps"] == []


CROSSES = np.array([[-15.0, -55.0], [385.0, -55.0], [385.0, 175.0], [-15.0, 175.0]])


@pytest.mark.parametrize("handheld", [False, True])
def test_crosses_tie_a_resting_or_handheld_clip_to_millimetres(clips, handheld):
    rng = np.random.default_rng(8)
    joint = drawn.pulled_ruler(40, SECTIONS)
    sway = np.cumsum(rng.normal(scale=0.8, size=(40, 1, 2)), axis=0) * handheld
    point_px = ruler_pixels(joint) + sway
    cross_px = ruler_pixels(CROSSES) + sway
    path = drawn.write_clip(
        clips / f"crosses{handheld}.mp4",
        (draw_ruler(p, crosses=c, canvas=drawn.paper()) for p, c in
         zip(point_px, cross_px, strict=True)), np.arange(40) / 30)
    tracked = track(Recording(path), rig_from_dict({
        "kind": "ruler", "points": 8, "pull": "right",
        "reference": {"crosses_mm": CROSSES.tolist()}, "ruler": {"sections_mm": list(SECTIONS)},
    }))
    check(tracked, point_px)
    assert tracked.view.moving == handheld
    motion = motion_of(tracked)
    assert motion.unit == "mm"
    error = motion.extension_mm() - np.diff(joint[..., 0], axis=1)
    assert np.sqrt((error**2).mean()) < 0.25
    assert 0.35 < np.sqrt(((error / motion.extension_sigma_mm()) ** 2).mean()) < 1.5


def test_a_hand_over_half_the_ruler_is_bridged_and_told(clips):
    point_px = ruler_pixels(drawn.pulled_ruler(50, SECTIONS))
    hand = 470 - 12.0 * np.abs(np.arange(50) - 25)
    visible = np.ones(point_px.shape[:2], bool)

    def picture(t):
        canvas = draw_ruler(point_px[t])
        place = np.array([hand[t], 190.0])
        drawn.disc(canvas, place, 90, (205, 150, 120))
        visible[t] = np.linalg.norm(point_px[t] - place, axis=1) > 100
        return canvas

    path = drawn.write_clip(clips / "hand.mp4", [picture(t) for t in range(50)], np.arange(50) / 30)
    assert 0.6 < visible.mean() < 0.97
    tracked = track(Recording(path), rig_from_dict({"kind": "ruler", "points": 8}))
    check(tracked, point_px, visible=visible, found=0.98, rms=0.2)
    hidden = np.linalg.norm(
        point_px - np.stack([hand, np.full(50, 190.0)], -1)[:, None], axis=-1) < 80
    assert not (tracked.tracks.status[hidden] == "detected").any()


def test_section_lengths_alone_give_the_scale(ruler_clip):
    lengths = 1.3 * np.array(SECTIONS)
    for given in (lengths.tolist(), float(lengths[1])):
        tracked = track(Recording(ruler_clip.path), rig_from_dict(
            {"kind": "ruler", "ruler": {"sections_mm": given}}))
        motion = motion_of(tracked)
        assert motion.unit == "mm"
        assert any("scale from ruler.sections_mm" in note for note in tracked.notes)
        link = np.linalg.norm(np.diff(motion.joint_mm, axis=1), axis=-1)
        assert_allclose(np.median(link, axis=0), lengths, rtol=4e-3)
        held = np.median(motion.joint_mm[:, 0], axis=0)
        assert_allclose(held, 0, atol=0.1)
        travel = motion.joint_mm[-1, -1] - motion.joint_mm[0, -1]
        assert travel[0] > 150 and abs(travel[1]) < 1  # x along the pull
        wrong = link.sum(1) / (1.3 * np.linalg.norm(np.diff(ruler_clip.joint_mm, axis=1),
                                                      axis=-1).sum(1)) - 1
        far = motion.joint_mm[:, -1, 0] - motion.joint_mm[:, 0, 0]
        claimed = np.abs(motion.shared_mm[:, -1, 0] - motion.shared_mm[:, 0, 0]).max(-1) / far
        assert 0.0005 < claimed.mean() < 0.01
        assert np.abs(wrong.mean()) < 3 * claimed.mean()


def test_section_lengths_that_contradict_each_other_are_told(ruler_clip):
    lengths = np.array(SECTIONS) * [1, 1, 1.2, 1, 0.85, 1.2, 0.9]
    tracked = track(Recording(ruler_clip.path), rig_from_dict(
        {"kind": "ruler", "ruler": {"sections_mm": lengths.tolist()}}))
    assert any("disagree about the scale" in warning for warning in tracked.warnings)
    few = track(Recording(ruler_clip.path), rig_from_dict(
        {"kind": "ruler", "ruler": {"sections_mm": [60.0, 120.0]}}))
    assert few.view is None
    assert any("2 numbers" in warning for warning in few.warnings)


def test_the_section_in_the_hand_is_left_out_unless_rig_toml_says_otherwise(ruler_clip):
    motion = motion_of(track(Recording(ruler_clip.path), Rig()))
    without = load_curve(motion, kind="ruler")
    with_it = load_curve(motion, kind="ruler", pull_section=False)
    assert (len(without.loads), len(with_it.loads)) == (6, 7)
    assert_allclose(with_it.loads[:6], without.loads, atol=1e-9)


@pytest.fixture(scope="module")
def blocks_clip(clips):
    joint = drawn.pulled_blocks(40, 7, shake=0.6, seed=2)
    point_px = np.array([45.0, 90.0]) + joint * [1, -1]

    def picture(points):
        canvas = drawn.paper(480, 170)
        drawn.bar(canvas, (10, 112), (470, 112), 12, (120, 120, 125))
        for number, centre in enumerate(points):
            drawn.bar(canvas, centre - [18, 0], centre + [18, 0], 38, (90, 90, 95))
            drawn.tag(canvas, number + 4, centre, 24, turn=0.1 + 0.02 * number)
        return cv2.GaussianBlur(canvas, (0, 0), 1.0)

    path = drawn.write_clip(clips / "blocks.mp4", map(picture, point_px), np.arange(40) / 30)
    return path, joint, point_px


def test_tags_on_blocks_are_tracked_in_their_order(blocks_clip):
    path, joint, point_px = blocks_clip
    tracked = track(Recording(path), Rig())
    assert (tracked.kind, tracked.marks) == ("blocks", "tags")
    # errors of tags allow for sides along the rows of pixels, which these tags do not have
    check(tracked, point_px, rms=0.12, careful=0.35)
    curve = load_curve(motion_of(tracked), kind="blocks")
    assert curve.unit == "spring" and curve.quantity == "px"
    assert len(curve.loads) == 6


def test_tags_listed_in_rig_toml_must_be_in_view(blocks_clip):
    rig = rig_from_dict({"kind": "blocks", "marks": {"kind": "tags", "ids": [4, 5, 30]}})
    with pytest.raises(InputError, match=r"tags \[30\] of marks.ids are in no frame"):
        track(Recording(blocks_clip[0]), rig)


def test_dots_on_shaken_blocks(clips):
    joint = drawn.pulled_blocks(40, 7, shake=1.0, seed=3)
    point_px = np.array([45.0, 90.0]) + joint * [1, -1]

    def picture(points):
        canvas = drawn.paper(480, 170)
        for centre in points:
            drawn.bar(canvas, centre - [17, 0], centre + [17, 0], 36, (70, 70, 75))
            drawn.disc(canvas, centre, 7, drawn.RED)
        return canvas

    path = drawn.write_clip(clips / "dotted.mp4", map(picture, point_px), np.arange(40) / 30)
    tracked = track(Recording(path), Rig())
    assert tracked.kind == "blocks"
    check(tracked, point_px)


@pytest.mark.parametrize("how", [{"pixels": "yuv420p10le"}, {"full_range": True},
                                 {"codec": "mjpeg", "pixels": "yuvj422p"}])
def test_deep_and_full_range_video_is_tracked_like_any_other(tmp_path, ruler_clip, how):
    suffix = ".avi" if "codec" in how else ".mp4"
    points = ruler_clip.point_px[::4]
    path = drawn.write_clip(tmp_path / f"a{suffix}", map(draw_ruler, points),
                            np.arange(len(points)) / 30, **how)
    tracked = track(Recording(path), Rig())
    error = tracked.tracks.position_px - points
    seen = tracked.tracks.status == "detected"
    assert seen.mean() > 0.8
    assert np.sqrt((error[seen] ** 2).mean()) < 0.4


def test_a_phone_held_upright_is_tracked_upright(tmp_path, ruler_clip):
    points = ruler_clip.point_px[::4]
    path = drawn.write_clip(tmp_path / "a.mp4", map(draw_ruler, points),
                            np.arange(len(points)) / 30)
    tracked = track(Recording(drawn.turned_upright_by(path, 1)), Rig())
    upright = np.stack([269 - points[..., 1], points[..., 0]], -1)
    error = tracked.tracks.position_px - upright
    assert np.sqrt((error**2).mean()) < 0.25


def test_a_grey_video_has_no_coloured_dots_and_says_so(tmp_path, ruler_clip):
    path = drawn.write_clip(tmp_path / "grey.mp4", map(draw_ruler, ruler_clip.point_px[::4]),
                            np.arange(10) / 30, pixels="gray")
    with pytest.raises(InputError, match="no colour"):
        track(Recording(path), Rig())


def test_bare_sticks_are_not_followed_where_there_are_dots(ruler_clip):
    with pytest.raises(InputError, match="dots|no folding ruler"):
        track(Recording(ruler_clip.path), rig_from_dict({"marks": {"kind": "none"}}))
