"""Drawn pages: a function of the generator, with flat areas, black and white paper, and text."""

import numpy as np

from ucdir.data.documents import document


def pages(count=60, side=96):
    return [document(np.random.default_rng(n), side) for n in range(count)]


def test_a_function_of_the_generator():
    first, again = pages(10), pages(10)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({page.tobytes() for page in first}) == 10
    assert all(page.shape == (96, 96, 3) and page.dtype == np.uint8 for page in first)


def test_most_of_a_page_is_flat_and_something_is_on_it():
    equal = [np.mean((np.diff(page.astype(int), axis=1) == 0).all(axis=2)) for page in pages()]
    assert np.median(equal) > 0.7
    assert np.mean([share < 1 for share in equal]) > 0.7


def test_paper_is_often_white_or_black():
    common = [np.unique(page.reshape(-1, 3), axis=0, return_counts=True) for page in pages(100)]
    papers = [tuple(colours[np.argmax(counts)]) for colours, counts in common]
    assert papers.count((255, 255, 255)) > 10
    assert papers.count((0, 0, 0)) > 10
    assert len(set(papers)) > 20
