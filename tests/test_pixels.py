"""The compiled loops over pixels obey the laws of the plain ones they stand for."""

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.track import cuts, pixels

WEIGHTS = np.array([[-0.002, -0.01, 0.006]])  # a dot stands out by 1


def smooth_picture(height, width, seed=0):
    """Soft noise of full contrast, bytes."""
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4)
    return cv2.normalize(soft, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def disc(height, width, x, y, radius, *, inside, outside, scale=1.0, siting=0.5):
    """A disc with soft edges on a plane whose pixels lie `scale` luma pixels apart."""
    rows, columns = np.mgrid[0:height, 0:width].astype(float)
    offset = (scale - 1) / 2
    away = np.hypot(columns * scale + (siting if scale > 1 else 0) - x, rows * scale + offset - y)
    share = 1 / (1 + np.exp((away - radius) / 0.6))
    return np.round(outside + (inside - outside) * share).astype(np.uint8)


def dot(x, y, radius=9.0, siting=0.5):
    """Y, U, V of a picture with one dot."""
    luma = disc(120, 160, x, y, radius, inside=90, outside=180)
    u = disc(60, 80, x, y, radius, inside=90, outside=128, scale=2, siting=siting)
    v = disc(60, 80, x, y, radius, inside=200, outside=128, scale=2, siting=siting)
    return luma, u, v


def measured_centre(x, y, guess=(0.7, -0.5), sets=2):
    luma, u, v = dot(x, y)
    centre, radius = np.array([[x + guess[0], y + guess[1]]]), np.array([9.0])
    edge, weight = pixels.colour_edges(luma, u, v, (0.5, 0.5), WEIGHTS, centre, radius, 4.0)
    if sets == 2:
        more, clear = pixels.luma_edges(luma, centre, radius, 4.0)
        edge, weight = np.concatenate([edge, more], 1), np.concatenate([weight, clear], 1)
    parameters, covariance, clear = pixels.fit_outlines(edge, weight)
    return centre[0] + parameters[0, :2], covariance[0], clear[0]


def test_grey_between_pixels_is_the_linear_interpolation_and_the_border_goes_on():
    picture = smooth_picture(30, 40)
    rng = np.random.default_rng(1)
    for x, y in rng.uniform([-5, -5], [45, 35], (200, 2)):
        inside_x, inside_y = np.clip(x, 0, 39), np.clip(y, 0, 29)
        column, row = min(int(inside_x), 38), min(int(inside_y), 28)
        fx, fy = inside_x - column, inside_y - row
        cell = picture[row : row + 2, column : column + 2].astype(float)
        expected = np.array([1 - fy, fy]) @ cell @ np.array([1 - fx, fx])
        assert_allclose(pixels.grey_at(picture, x, y), expected, atol=1e-9)


def test_a_place_that_is_no_number_reads_a_pixel_and_not_some_other_memory():
    picture = smooth_picture(30, 40)
    assert 0 <= pixels.grey_at(picture, np.nan, np.inf) <= 255


@pytest.mark.parametrize("count", [1, 2, 5, 24, 79, 80])
def test_the_median_is_the_median(count):
    values = np.random.default_rng(count).integers(0, 9, count).astype(float)
    assert pixels.middle_of(values.copy(), count) == np.median(values)


@pytest.mark.parametrize("n", [0, 3, 39])
def test_the_nth_value_is_where_sorting_puts_it(n):
    values = np.random.default_rng(n).normal(size=40)
    assert pixels.nth_of(values.copy(), 40, n) == np.sort(values)[n]


@pytest.mark.parametrize("width", [64, 90, 77])
def test_patches_of_a_colour_are_the_connected_components_of_its_mask(width):
    u, v = smooth_picture(48, width, 1), smooth_picture(48, width, 2)
    inside = (u.astype(float) - 100) ** 2 + (v.astype(float) - 120) ** 2 < 30.0**2
    box = cv2.inRange(u, 70, 130) & cv2.inRange(v, 90, 150)
    assert 0 < (box > 0).mean() < 0.2
    runs = pixels.find_runs(box, u, v, 100.0, 120.0, 30.0)
    label, patches = pixels.join_runs(runs)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(
        inside.astype(np.uint8), connectivity=4
    )
    assert len(patches) == count - 1 > 5
    own = np.zeros(inside.shape, int)
    for (row, begin, end), patch in zip(runs, label, strict=True):
        own[row, begin:end] = patch + 1
    assert ((own > 0) == inside).all()
    for k in range(1, count):
        (number,) = np.unique(own[labels == k])
        area, sum_x, sum_y, left, top, right, bottom = patches[number - 1]
        assert_allclose([left, top, right - left + 1, bottom - top + 1, area], stats[k])
        assert_allclose([sum_x / area, sum_y / area], centres[k])


def test_branches_that_meet_further_down_are_one_patch():
    comb = np.zeros((6, 16), np.uint8)
    comb[:, ::4] = 255
    comb[5, :13] = 255
    runs = pixels.find_runs(comb // 2, comb, comb, 255.0, 255.0, 1.0)
    assert not len(runs)  # a third of the picture: that is not a mark but the scene
    wide = np.pad(comb, ((0, 0), (0, 84)))
    runs = pixels.find_runs(wide, wide, wide, 255.0, 255.0, 1.0)
    _, patches = pixels.join_runs(runs)
    assert len(patches) == 1 and patches[0, 0] == (comb > 0).sum()


@pytest.mark.parametrize(("sets", "within_px"), [(1, 0.12), (2, 0.06)])
def test_a_shifted_dot_is_measured_shifted_by_as_much(sets, within_px):
    rng = np.random.default_rng(3)
    errors = [
        measured_centre(*place, sets=sets)[0] - place for place in rng.uniform(60, 66, (25, 2))
    ]
    assert np.abs(errors).max() < within_px
    assert np.abs(np.mean(errors, axis=0)).max() < 0.02


def test_the_first_guess_does_not_matter_to_the_centre():
    first, _, _ = measured_centre(63.3, 61.8, guess=(0.5, 0.0))
    second, _, _ = measured_centre(63.3, 61.8, guess=(-0.4, 0.6))
    assert_allclose(first, second, atol=0.04)


def test_the_outline_fit_is_the_least_squares_fit_when_no_edge_strays():
    rng = np.random.default_rng(4)
    angle = np.arange(pixels.RAYS) * 2 * np.pi / pixels.RAYS
    design = np.stack([np.cos(angle), np.sin(angle), np.ones_like(angle), np.cos(2 * angle),
                       np.sin(2 * angle)], -1)  # fmt: skip
    truth = np.array([0.4, -0.3, 8.0, 0.0, 0.0])
    edge = (design @ truth + rng.normal(0, 1e-4, angle.shape))[None, None]
    weight = np.full_like(edge, 0.5)
    parameters, covariance, clear = pixels.fit_outlines(edge, weight)
    assert_allclose(parameters[0, :5], np.linalg.lstsq(design, edge[0, 0])[0], atol=1e-4)
    assert clear[0] == 1 and parameters[0, 5] == 0
    assert (np.linalg.eigvalsh(covariance[0]) > 0).all()


def test_edges_that_stray_do_not_pull_the_outline():
    angle = np.arange(pixels.RAYS) * 2 * np.pi / pixels.RAYS
    edge = 8.0 + 0.5 * np.cos(angle)
    edge[::6] += 3.0
    both = np.stack([edge, edge + 0.2])[None]
    parameters, _, clear = pixels.fit_outlines(both, np.full_like(both, 0.4))
    assert_allclose(parameters[0, [0, 1, 2, 5]], [0.5, 0, 8.0, 0.2], atol=0.02)
    assert clear[0] < 0.86


def test_a_dot_without_edges_stays_and_says_it_knows_nothing():
    nothing = np.zeros((1, 2, pixels.RAYS))
    parameters, covariance, clear = pixels.fit_outlines(nothing + 8.0, nothing)
    assert (parameters == 0).all() and clear[0] == 0 and np.isfinite(covariance).all()


def test_a_frame_that_is_half_of_each_neighbour_has_made_half_the_change():
    before, after = smooth_picture(40, 60, 5), smooth_picture(40, 60, 6)
    half = ((before.astype(int) + after) / 2).astype(np.uint8)
    share = pixels.shares_of_change(before, half, after, 60)
    change = np.abs(after.astype(int) - before)
    assert len(share) == (change > 60).sum() > 25
    assert abs(np.median(share) - 0.5) < 0.02
    assert_allclose(pixels.change_between(before, after), change.mean())


def polygon(corners, *, size=(120, 160), inside=30, outside=210):
    """A filled polygon, drawn at 16 times the size and averaged down; pixel centres at integers."""
    large = np.full((size[0] * 16, size[1] * 16), outside, np.uint8)
    points = np.round((np.asarray(corners, float) + 0.5) * 16 - 0.5).astype(np.int32)
    cv2.fillPoly(large, [points.reshape(-1, 1, 2)], inside)
    small = cv2.resize(large, size[::-1], interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), 0.8)


@pytest.mark.parametrize("turn", [0.0, 0.2, -0.5])
def test_the_centre_of_a_tag_is_found_to_a_tenth_of_a_pixel(turn):
    square = np.array([[-16, -16], [16, -16], [16, 16], [-16, 16]], float)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = square @ rotation.T + [80.3, 60.7]
    guess = corners[None] + np.random.default_rng(7).uniform(-1.2, 1.2, (1, 4, 2))
    found, centre, variance = cuts.fit_tags(polygon(corners), guess)
    assert_allclose(found[0], corners, atol=0.15)
    assert_allclose(centre[0], [80.3, 60.7], atol=0.1)
    assert 0 < variance[0] < 0.01


def test_a_tag_that_is_not_there_is_not_seen():
    empty = np.full((120, 160), 128, np.uint8)
    guess = np.array([[[60, 40], [90, 40], [90, 70], [60, 70.0]]])
    assert np.isnan(cuts.fit_tags(empty, guess)[2]).all()


def test_a_tag_reads_as_itself_and_not_as_another_or_as_it_is_turned():
    book = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    own, other = (
        (cv2.aruco.generateImageMarker(book, tag, 6) > 127).astype(np.uint8) for tag in (3, 8)
    )
    picture = np.full((100, 120), 220, np.uint8)
    picture[30:66, 40:76] = cv2.aruco.generateImageMarker(book, 3, 36)
    corner = np.array([[40, 30], [76, 30], [76, 66], [40, 66]]) - 0.5
    assert cuts.reads_as(picture, corner, own)
    assert not cuts.reads_as(picture, corner, other)
    assert not cuts.reads_as(picture, np.roll(corner, 1, axis=0), own)


@pytest.mark.parametrize("place", [(80.0, 60.0), (80.4, 59.7)])
def test_a_cross_is_centred_where_its_bars_cross_though_one_arm_is_covered(place):
    bars = np.array([[20.0, 3.0], [-3.0, 20.0]])
    picture = np.full((120, 160), 200, np.uint8)
    for bar in bars:
        across = 1.5 * np.array([-bar[1], bar[0]]) / np.linalg.norm(bar)
        box = [place + s * bar + t * across for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        picture = np.minimum(picture, polygon(box, inside=40, outside=200))
    rough = np.concatenate([np.add(place, [1.1, -0.8]), bars.ravel()])[None]
    centre, covariance = cuts.cross_centres(picture, rough)
    assert_allclose(centre[0], place, atol=0.04)
    covered = picture.copy()
    covered[56:70, 88:] = 200
    again, wider = cuts.cross_centres(covered, rough)
    assert_allclose(again[0], place, atol=0.06)
    assert np.trace(wider[0]) > 0 and (np.linalg.eigvalsh(covariance[0]) > 0).all()
    assert np.isnan(cuts.cross_centres(np.full_like(picture, 200), rough)[0]).all()


@pytest.mark.parametrize("arm", [20.0, 40.0, 70.0])
def test_a_cross_is_centred_however_large_it_is_printed(arm):
    place, size = np.array([90.3, 89.6]), (180, 180)
    picture, bars = np.full(size, 200, np.uint8), arm * np.array([[1.0, 0.05], [-0.05, 1.0]])
    for bar in bars:
        across = 0.1 * np.array([-bar[1], bar[0]])
        box = [place + s * bar + t * across for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        picture = np.minimum(picture, polygon(box, inside=40, outside=200, size=size))
    rough = np.concatenate([place + [1.1, -0.8], bars.ravel()])[None]
    assert_allclose(cuts.cross_centres(picture, rough)[0], [place], atol=0.05)


def test_without_a_place_to_keep_machine_code_functions_compile_all_the_same(monkeypatch):
    real = pixels.njit

    def nowhere(function, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(function, **options)

    monkeypatch.setattr(pixels, "njit", nowhere)
    assert pixels.compiled(lambda x: x + 1)(2) == 3
