"""Bare sticks: a rigid chain on their edges, through a clip of known truth."""

import json
from dataclasses import replace

import drawn
import numpy as np
import pytest

from rulerlab.cli import main
from rulerlab.errors import InputError
from rulerlab.records import LOST
from rulerlab.rig import rig_from_dict
from rulerlab.store.tables import read_tracks_csv
from rulerlab.synthetic import Scene, film, pictures, truth
from rulerlab.synthetic.render import Studio
from rulerlab.track import track
from rulerlab.track.sticks.agree import disagreeing
from rulerlab.track.sticks.blur import exposed_share
from rulerlab.track.sticks.chain import Lines, folds, rods_of, solve
from rulerlab.track.sticks.edges import bare_share, learn_wood
from rulerlab.track.sticks.find import Found
from rulerlab.track.sticks.fit import fit_chain
from rulerlab.track.sticks.follow import (
    StickFollower,
    beside_unseen,
    much_less,
    unlike_confirmed,
)
from rulerlab.track.sticks.shared import fit_shared
from rulerlab.track.sticks.start import Start, count_of
from rulerlab.track.sticks.sweep import sweep
from rulerlab.video import Recording

SECTIONS = 5
KINDS = ("full",) * SECTIONS


def zigzag(lean_deg, *, length=100.0):
    """Joints (6, 2) of sections that lean so far from upright, px."""
    lean = np.radians(np.broadcast_to(lean_deg, SECTIONS))
    way = np.where(np.arange(SECTIONS) % 2, -1.0, 1.0)
    step = length * np.stack([np.sin(lean), way * np.cos(lean)], -1)
    return np.vstack([[60.0, 80.0], [60.0, 80.0] + np.cumsum(step, axis=0)])


def seen(base, true, *, sigma=0.2, tips=0.0):
    """What perfect edges would say of a true chain that lies near the base joints."""
    way = np.diff(base, axis=0)
    normal = np.stack([-way[:, 1], way[:, 0]], -1) / np.linalg.norm(way, axis=1)[:, None]
    off = np.stack([((true - base)[:-1] * normal).sum(-1), ((true - base)[1:] * normal).sum(-1)], 1)
    shape = (1, SECTIONS, 2)
    return Lines(base[None], off[None], np.broadcast_to(np.eye(2) / sigma**2, shape + (2,)),
                 np.zeros(shape), np.full(shape, tips), np.full((1, *base.shape), np.nan),
                 np.array([1e-6]), np.zeros(1))


def test_edges_and_rigid_lengths_place_the_joints_of_an_open_chain():
    true = zigzag(25)
    base = true + np.random.default_rng(1).normal(0, 1.5, true.shape)
    joints, covariance = solve(seen(base, true), rods_of(true, KINDS, 12.0, (400, 300)), rounds=8)
    assert np.abs(joints[0] - true).max() < 0.1
    assert np.sqrt(np.diag(covariance[0])).max() < 1.0


def test_a_folded_stack_is_known_across_its_sticks_and_hardly_along_them():
    folded = zigzag(2)
    _, covariance = solve(seen(folded, folded), rods_of(folded, KINDS, 12.0, (400, 300)))
    sigma = np.sqrt(np.diag(covariance[0])).reshape(-1, 2)
    assert (sigma[1:-1, 1] > 5 * sigma[1:-1, 0]).all()


def test_no_step_folds_a_hinge_to_its_other_side():
    base = zigzag(3)
    rods = rods_of(base, KINDS, 12.0, (400, 300))
    wrong = zigzag(-4)
    joints, _ = solve(seen(base, wrong), rods)
    assert (folds(joints[0]) * rods.turns > 0).all()


def test_the_length_of_the_sections_comes_out_of_the_clip():
    chains = [zigzag(lean) for lean in (10, 20, 30, 40)]
    lines = [seen(chain, chain) for chain in chains]
    together = Lines(*(np.concatenate([getattr(one, name) for one in lines])
                       for name in Lines.__dataclass_fields__))
    rods = rods_of(chains[0] * 1.02, KINDS, 12.0, (400, 300))
    found, _ = fit_shared(together, rods)
    assert np.median(found.lengths(chains[2])) == pytest.approx(100.0, rel=2e-3)


SCENE = Scene(marks="none", references="none", full_sections=4, size_px=(960, 540), seconds=0.8,
              fps=20.0, seed=4, psf_px=0.6)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return film(SCENE, tmp_path_factory.mktemp("sticks") / "bare.mp4")


@pytest.fixture(scope="module")
def frames(clip):
    return [replace(frame, luma=frame.luma.copy(), chroma_u=frame.chroma_u.copy(),
                    chroma_v=frame.chroma_v.copy()) for frame in Recording(clip.video).frames()]


KINDS_OF_SCENE = ("half", "full", "full", "full", "full", "half", "free")


def test_one_frame_is_fitted_from_a_rough_start(clip, frames):
    true = np.load(clip.truth)["point_px"][-1]
    rods = rods_of(true, KINDS_OF_SCENE, 17.0, SCENE.size_px)
    wood = learn_wood(frames[-1:], [true], 17.0)
    start = true + np.random.default_rng(3).normal(0, 2.5, true.shape)
    fit = fit_chain(frames[-1], wood, start, rods)
    assert np.abs(fit.joints_px - true)[:-1].max() < 1.5
    assert np.nanmin(fit.seen) > 0.8


def test_a_chain_that_jumped_is_found_from_its_held_end(clip, frames):
    true = np.load(clip.truth)["point_px"]
    rods = rods_of(true[-1], KINDS_OF_SCENE, 17.0, SCENE.size_px)
    wood = learn_wood(frames[-1:], [true[-1]], 17.0)
    swept = sweep(frames[-1], wood, true[4], rods)
    assert np.linalg.norm(true[-1] - true[4], axis=1).max() > 60
    assert np.linalg.norm(swept - true[-1], axis=1)[:-1].max() < 15


def test_a_bare_ruler_is_tracked_without_a_word_about_it(clip):
    tracked = track(Recording(clip.video), rig_from_dict({}))
    known = np.load(clip.truth)
    assert (tracked.kind, tracked.marks) == ("ruler", "none")
    assert tracked.tracks.position_px.shape == known["point_px"].shape
    assert not (tracked.tracks.status[:, :-1] == LOST).any()
    error = (tracked.tracks.position_px - known["point_px"])[:, :-1]
    assert np.sqrt((error**2).mean()) < 0.8
    variance = np.diagonal(tracked.tracks.covariance_px, axis1=-2, axis2=-1)[:, :-1]
    z = error / np.sqrt(variance)
    assert 0.4 < np.sqrt((z**2).mean()) < 2.0
    assert (tracked.tracks.status[:, -1] != "detected").all()  # nothing marks the grip


def by_hand(clip):
    """The true joints of the first frame, as a hand would give them."""
    true = np.load(clip.truth)["point_px"][0]
    return true + np.random.default_rng(2).uniform(-2.5, 2.5, true.shape)


def test_joints_given_by_hand_start_the_clip_as_well(clip, tmp_path, capsys):
    rows = [f"{x:.1f},{y:.1f}" for x, y in by_hand(clip)]
    (tmp_path / "joints.csv").write_text("\n".join(["x,y", *rows]))
    with pytest.raises(SystemExit) as stop:
        main(["track", str(clip.video), "--joints", str(tmp_path / "joints.csv"), "--rig", "none",
              "--no-video", "-q", "--json", "-o", str(tmp_path / "run")])
    said = json.loads(capsys.readouterr().out)
    assert (stop.value.code, said["points"], said["marks"]) == (0, len(rows), "none")
    known = np.load(clip.truth)["point_px"]
    position = read_tracks_csv(tmp_path / "run" / "tracks.csv").position_px
    assert np.sqrt((((position - known)[:, :-1]) ** 2).mean()) < 1.0


def test_joints_given_beside_the_sticks_are_refused(clip):
    aside = by_hand(clip) + [0, 250]
    with pytest.raises(InputError, match="no stick is seen along the joints"):
        track(Recording(clip.video), rig_from_dict({}), joints_px=aside)


def test_joints_given_must_be_as_many_as_the_rig_has(clip):
    with pytest.raises(InputError, match="points = 6"):
        track(Recording(clip.video), rig_from_dict({"points": 6}), joints_px=by_hand(clip))


def test_picking_in_a_clip_shows_its_first_frame(clip, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(SystemExit) as stop:
        main(["track", str(clip.video), "--pick"])
    grid = clip.video.with_name("bare.pick.png")
    assert stop.value.code == 3
    assert str(grid) in capsys.readouterr().err
    assert grid.is_file()


def test_an_empty_table_is_no_ruler(tmp_path):
    path = drawn.write_clip(tmp_path / "empty.mp4", [drawn.paper()] * 6, np.arange(6) / 30)
    with pytest.raises(InputError, match="no folding ruler"):
        track(Recording(path), rig_from_dict({"marks": {"kind": "none"}}))


def test_bare_blocks_are_not_looked_for(clip):
    rig = rig_from_dict({"kind": "blocks", "marks": {"kind": "none"}})
    with pytest.raises(InputError, match="for the bare sticks of a ruler.* put dots or tags"):
        track(Recording(clip.video), rig)


def test_a_hand_alone_is_no_ruler(tmp_path, monkeypatch):
    monkeypatch.setattr(Studio, "_draw_ruler", lambda *_: None)
    alone = film(replace(SCENE, seconds=0.1), tmp_path / "hand.mp4")
    with pytest.raises(InputError, match="no folding ruler .* --joints FILE") as told:
        track(Recording(alone.video), rig_from_dict({}))
    assert "no coloured dots and no tags" in str(told.value)
    assert "\n" not in str(told.value)


def test_tags_are_not_passed_over(tmp_path):
    tagged = film(replace(SCENE, marks="tags", size_px=(1280, 720), seconds=0.1),
                  tmp_path / "tags.mp4")
    with pytest.raises(InputError, match="tags are seen.*marks.kind"):
        track(Recording(tagged.video), rig_from_dict({"marks": {"kind": "none"}}))


def test_a_chain_elsewhere_than_the_picture_alone_shows_is_told(clip):
    true = np.load(clip.truth)["point_px"][-1]
    found = Found(true, 0.5 * np.eye(true.size), 17.0, KINDS_OF_SCENE, 6.0, ())
    spread = np.broadcast_to(0.1 * np.eye(2), (len(true), 2, 2))
    followed = true + [0.5, -0.5]
    assert not disagreeing(followed, spread, found).any()
    followed[3] += [9.0, 0.0]
    assert np.flatnonzero(disagreeing(followed, spread, found)).tolist() == [3]
    assert not disagreeing(followed, 100 * spread, found).any()


@pytest.fixture(scope="module")
def start(clip, frames):
    true, spread = np.load(clip.truth)["point_px"], 0.5 * np.eye(16)
    return Start([frames[4], frames[-1]], [
        Found(true[k], spread, 17.0, KINDS_OF_SCENE, 6.0, (), covered=True) for k in (4, -1)
    ], 1, [])


def followed(start, forwards, backwards):
    follower = StickFollower(start)
    for frame in forwards:
        follower.observe(frame)
    follower.look_back(backwards)
    return follower.chains()


def test_two_ways_through_a_clip_that_agree_confirm_all_joints(clip, frames, start):
    chains = followed(start, frames, frames[::-1])
    true = np.load(clip.truth)["point_px"]
    assert chains.checked.all()
    assert not chains.apart.any()
    assert not chains.guessed[:, :-1].any()
    assert np.abs(chains.joints_px - true)[:, :-1].max() < 2.0


def pictures_of(*counts):
    return {k: Found(np.zeros((n, 2)), np.eye(2 * n), 17.0, (), 5.0, ())
            for k, n in enumerate(counts)}


def test_pictures_in_doubt_that_agree_outweigh_one_that_shows_a_part_of_the_chain():
    assert count_of(pictures_of(9), pictures_of(12, 12, 12, 12), None)[0] == 12
    assert count_of(pictures_of(12, 12), pictures_of(9, 9, 9), None)[0] == 12
    assert count_of(pictures_of(9), pictures_of(12, 12, 11), None)[0] == 9
    assert count_of({}, pictures_of(12, 12), None) == (None, [])
    with pytest.raises(InputError, match="points = 11"):
        count_of(pictures_of(12), {}, 11)


def test_joints_that_the_two_ways_see_in_two_places_are_not_trusted(clip, frames, start):
    odd = 11  # the second time, this frame shows what another one showed
    other = [replace(frames[-1], index=odd) if f.index == odd else f for f in frames]
    chains = followed(start, frames, other[::-1])
    true = np.load(clip.truth)["point_px"]
    moved = np.linalg.norm(true[odd] - true[-1], axis=1) > 5
    assert moved[1:-1].sum() > 3
    assert chains.apart[odd, :-1][moved[:-1]].all()
    assert not np.delete(chains.apart, odd, axis=0).any()
    sigma = np.sqrt(np.linalg.eigvalsh(chains.covariance_px[odd]).max(-1))
    assert (sigma[moved] > 4).all()


def test_frames_that_one_way_alone_reaches_are_not_confirmed(frames, start):
    assert not followed(start, frames, []).checked.any()


BLENDED = 12  # a frame of the jerk, with motion before and after


@pytest.fixture(scope="module")
def jerk(tmp_path_factory):
    scene = replace(SCENE, jerks=1, seed=6, fps=30.0, seconds=0.6, pull_mm=80, exposure_s=0.016,
                    ghosted=(BLENDED,))
    made = film(scene, tmp_path_factory.mktemp("jerk") / "jerk.mp4")
    tracked = track(Recording(made.video), rig_from_dict({}), joints_px=by_hand(made))
    return tracked, np.load(made.truth)["point_px"]


def test_a_blend_of_two_moments_is_left_out_and_others_are_not(jerk):
    tracked, _ = jerk
    assert tracked.health["ghosts"] == [BLENDED]
    assert (tracked.tracks.status[BLENDED] != "detected").all()
    others = np.delete(tracked.tracks.status, BLENDED, axis=0)
    assert (others[:, :-1] == "detected").mean() > 0.95


def test_joints_blurred_by_a_jerk_are_found_with_errors_that_say_so(jerk):
    tracked, true = jerk
    moved = np.linalg.norm(np.gradient(true, axis=0), axis=-1)
    fast = (moved > 15) & (tracked.tracks.status == "detected")
    assert fast.sum() >= 8
    error = (tracked.tracks.position_px - true)[fast]
    z = error / np.sqrt(np.diagonal(tracked.tracks.covariance_px[fast], axis1=-2, axis2=-1))
    assert np.sqrt((error**2).mean()) < 2.0
    assert 0.3 < np.sqrt((z**2).mean()) < 2.0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_edges_of_fast_sticks_tell_how_long_the_shutter_is_open(share):
    moved = np.random.default_rng(5).uniform(0, 30, (40, 6))
    rise = np.sqrt(4.0**2 + (share * moved) ** 2)
    rise[::5] = np.nan
    assert exposed_share(rise, moved) == pytest.approx(share, abs=0.02)


def test_sticks_that_hide_each_other_over_bare_ground_are_not_there(clip, frames):
    true = np.load(clip.truth)["point_px"][-1]
    wood = learn_wood(frames[-1:], [true], 17.0)
    astray = true.copy()  # two sections lie on one another where nothing is
    astray[3] = true[2] + [0.0, 80.0] if true[2, 1] > true[3, 1] else true[2] - [0.0, 80.0]
    astray[4] = true[2] + [1.0, 0.0]
    planes = frames[-1].luma, frames[-1].chroma_u, frames[-1].chroma_v
    assert bare_share(*planes, wood.mix, true)[:-1].max() < 0.1
    assert bare_share(*planes, wood.mix, astray)[2:4].min() > 0.5


def test_a_frame_that_shows_much_less_of_the_chain_than_its_neighbours_is_doubted():
    score = np.full(60, 800) - 3 * np.arange(60)
    score[25] = 280
    assert np.flatnonzero(much_less(score)).tolist() == [25]


def test_frames_that_one_way_alone_reaches_must_show_as_much_as_those_that_both_do():
    score, both = np.array([800, 790, 700, 795, 600]), np.array([True, True, False, False, False])
    assert np.flatnonzero(unlike_confirmed(score, both)).tolist() == [2, 4]
    assert not unlike_confirmed(score, np.zeros(5, bool)).any()


def test_joints_of_a_stick_that_is_hardly_seen_are_guessed_with_those_that_hang_on_it(clip, frames):
    true = np.load(clip.truth)["point_px"][-1]
    wood = learn_wood(frames[-1:], [true], 17.0)
    fit = fit_chain(frames[-1], wood, true, rods_of(true, KINDS_OF_SCENE, 17.0, SCENE.size_px))
    assert not beside_unseen(fit).any()
    fit = replace(fit, seen=np.array([1.0, 0.9, 0.1, np.nan, 0.9, np.nan, 0.8]))
    assert np.flatnonzero(beside_unseen(fit)).tolist() == [2, 3, 4]


def test_dots_on_the_joints_are_not_passed_over(tmp_path):
    dotted = film(replace(SCENE, marks="dots", seconds=0.2), tmp_path / "dots.mp4")
    with pytest.raises(InputError, match="marks.kind"):
        track(Recording(dotted.video), rig_from_dict({"marks": {"kind": "none"}}))


@pytest.mark.parametrize("wood", ["dark", "grey"])
def test_other_woods_look_different_and_lie_in_the_same_places(wood):
    scene = replace(SCENE, wood=wood, seconds=0.1)
    (_, plain), (_, other) = next(pictures(replace(SCENE, seconds=0.1))), next(pictures(scene))
    assert np.array_equal(truth(scene)["point_px"], truth(replace(SCENE, seconds=0.1))["point_px"])
    assert (np.abs(plain.astype(int) - other).max(-1) > 20).mean() > 0.01
