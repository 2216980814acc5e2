"""Tags on the sections of a ruler: the joints are where rigid bodies hinge."""

import drawn
import numpy as np
import pytest

from rulerlab.errors import InputError, QualityError
from rulerlab.rig import rig_from_dict
from rulerlab.track import track
from rulerlab.track.sections import Bodies, find_glue, fit_chain
from rulerlab.video import Recording

LENGTH = np.array([60.0, 120.0, 120.0, 120.0, 60.0])
ALONG = np.array([29.0, 72.0, 60.0, 50.0, 30.0])


def axes(joint):
    link = np.diff(joint, axis=1)
    angle = np.arctan2(link[..., 1], link[..., 0])
    along = np.stack([np.cos(angle), np.sin(angle)], -1)
    return angle, along, np.stack([-along[..., 1], along[..., 0]], -1)


def glued_tags(joint, *, place=ALONG, sigma=0.05, hidden=0.0, seed=0):
    """Tags glued at any angle, a little beside the axis, and seen with noise; and how glued."""
    rng = np.random.default_rng(seed)
    angle, along, left = axes(joint)
    phi, aside = rng.uniform(-3, 3, len(place)), rng.normal(0, 0.2, len(place))
    centre = joint[:, :-1] + place[:, None] * along + aside[:, None] * left
    turn_variance = 9.4 * (sigma / 20) ** 2
    centre = centre + sigma * rng.standard_normal(centre.shape)
    turn = np.unwrap(angle, axis=0) + phi
    turn = turn + np.sqrt(turn_variance) * rng.standard_normal(turn.shape)
    gone = rng.random(turn.shape) < hidden
    turn[gone], centre[gone] = np.nan, np.nan
    shape = turn.shape
    return Bodies(centre, turn, np.full(shape, sigma**2), np.full(shape, turn_variance)), phi


@pytest.mark.parametrize("known", ["both", "length", "along"])
def test_how_tags_are_glued_is_found_from_the_hinges(known):
    joint = drawn.pulled_ruler(80, LENGTH, folded=0.2, opened=0.9)
    bodies, phi = glued_tags(joint, hidden=0.05)
    glue = find_glue(bodies, ALONG if known != "length" else None,
                     LENGTH if known != "along" else None)
    turned = np.angle(np.exp(1j * (glue.phi - phi)))
    np.testing.assert_allclose(turned, 0, atol=0.02)
    inner = slice(None) if known != "along" else slice(0, -1)  # nothing tells where the hand holds
    np.testing.assert_allclose(glue.length[inner], LENGTH[inner], atol=0.8)
    np.testing.assert_allclose(glue.along, ALONG, atol=0.8)


def test_joints_of_hinged_tags_lie_within_their_errors():
    z = []
    for seed in range(6):
        joint = drawn.pulled_ruler(60, LENGTH, folded=0.2, opened=0.9)
        bodies, _ = glued_tags(joint, hidden=0.05, seed=seed)
        found, covariance = fit_chain(bodies, find_glue(bodies, None, LENGTH))
        assert np.isfinite(found[..., 0]).mean() > 0.9
        sigma = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
        z.append((found - joint) / sigma)
        assert np.nanmedian(np.abs(found - joint)) < 0.2
    z = np.array(z)
    # the errors allow for what compression leaves in tags, which this noise does not have
    assert 0.25 < np.sqrt(np.nanmean(z**2)) < 1.2
    assert np.nanmax(np.abs(z)) < 6


def test_a_misread_tag_does_not_bend_the_chain():
    joint = drawn.pulled_ruler(60, LENGTH, folded=0.2, opened=0.9)
    bodies, _ = glued_tags(joint)
    clean, _ = fit_chain(bodies, find_glue(bodies, ALONG, LENGTH))
    bodies.turn[20:30, 2] += 0.05
    bent, _ = fit_chain(bodies, find_glue(bodies, ALONG, LENGTH))
    assert np.abs(bent - clean)[20:30].max() < 1.0  # 0.05 rad over a section would be 6
    assert np.abs(bent - clean)[40:].max() < 0.15


def test_a_joint_whose_two_tags_are_hidden_is_not_invented():
    joint = drawn.pulled_ruler(60, LENGTH, folded=0.2, opened=0.9)
    bodies, _ = glued_tags(joint)
    bodies.turn[30:34, 1:3], bodies.centre[30:34, 1:3] = np.nan, np.nan
    found, _ = fit_chain(bodies, find_glue(bodies, ALONG, LENGTH))
    assert np.isnan(found[30:34, 2]).all()
    assert np.isfinite(found[:30]).all() and np.isfinite(found[34:]).all()


def test_sections_that_never_turn_need_their_lengths():
    joint = np.repeat(drawn.pulled_ruler(20, LENGTH)[:1], 40, axis=0)
    bodies, _ = glued_tags(joint, sigma=0.01)
    with pytest.raises(QualityError, match="along_mm and ruler.sections_mm"):
        find_glue(bodies, None, None)


def test_sections_that_never_turn_are_reached_from_those_that_do():
    length = np.array([52.0, *[104.0] * 8, 52.0, 120.0])
    opening = np.full((60, 11), 0.1)
    opening[:, 6:] += np.linspace(0, 0.6, 60)[:, None] * np.linspace(0.2, 1.0, 5)
    joint = np.array([drawn.ruler_joints(o, length) for o in opening])
    bodies, _ = glued_tags(joint, place=length / 2, sigma=0.003)
    found, _ = fit_chain(bodies, find_glue(bodies, length / 2, length))
    assert np.isfinite(found).all()
    assert np.abs(found - joint).max() < 2.0


# --- the whole way, from a film ---------------------------------------------------------------

SECTIONS = (80.0, 150.0, 150.0, 150.0, 80.0)
PLACES = (40.0, 95.0, 75.0, 75.0, 40.0)
ORIGIN = np.array([60.0, 260.0])
CROSSES = np.array([[-20.0, -70.0], [440.0, -70.0], [440.0, 230.0], [-20.0, 230.0]])


@pytest.fixture(scope="module")
def tagged_clip(clips):
    joint = drawn.pulled_ruler(50, SECTIONS, folded=0.25, opened=0.75)
    angle, along, _ = axes(joint)
    centre_px = ORIGIN + (joint[:, :-1] + np.array(PLACES)[:, None] * along) * [1, -1]
    point_px = ORIGIN + joint * [1, -1]

    def picture(t):
        canvas = drawn.paper(560, 360)
        for cross in ORIGIN + CROSSES * [1, -1]:
            drawn.cross(canvas, cross, 22)
        for a, b in zip(point_px[t], point_px[t][1:], strict=False):
            drawn.bar(canvas, a, b, 34, drawn.WOOD)
        for s, glued in enumerate((0.1, 1.5, -0.2, 3.0, -1.6)):
            drawn.tag(canvas, s + 3, centre_px[t, s], 26, turn=glued - angle[t, s])
        return canvas

    path = drawn.write_clip(clips / "tagged.mp4", map(picture, range(50)), np.arange(50) / 30,
                            crf=18)
    return path, joint, point_px


@pytest.mark.parametrize("places", [PLACES, None])
def test_a_ruler_with_tags_on_its_sections_is_tracked_to_its_joints(tagged_clip, places):
    path, joint, point_px = tagged_clip
    rig = rig_from_dict({
        "kind": "ruler", "points": 6, "ruler": {"sections_mm": list(SECTIONS)},
        "marks": {"kind": "tags", "on": "sections"} | (
            {"along_mm": list(places)} if places else {}),
        "reference": {"crosses_mm": CROSSES.tolist()},
    })
    tracked = track(Recording(path), rig)
    error = tracked.tracks.position_px - point_px
    assert np.isfinite(error).all()
    assert np.sqrt((error**2).mean()) < 0.25
    assert np.sqrt(((error / tracked.tracks.sigma_px()) ** 2).mean()) < 1.35
    assert tracked.marks == "tags"


def test_tags_on_sections_need_neither_reference_nor_lengths(tagged_clip):
    path, _, point_px = tagged_clip
    tracked = track(Recording(path), rig_from_dict({"kind": "ruler", "marks": {"kind": "tags"}}))
    error = tracked.tracks.position_px - point_px
    assert tracked.view is None
    assert np.sqrt((error**2).mean()) < 0.4
    assert any("tags in chain order: [3, 4, 5, 6, 7]" in note for note in tracked.notes)
    assert any("beyond the tag" in note for note in tracked.notes)


def test_tags_that_turn_are_no_blocks_on_a_rail(tagged_clip):
    with pytest.raises(InputError, match="turn against the others: on a ruler"):
        track(Recording(tagged_clip[0]), rig_from_dict({}))


def test_the_number_of_joints_must_fit_the_number_of_tags(tagged_clip):
    rig = rig_from_dict({"kind": "ruler", "points": 9, "marks": {"kind": "tags"}})
    with pytest.raises(InputError, match="8 .points - 1. are needed"):
        track(Recording(tagged_clip[0]), rig)
