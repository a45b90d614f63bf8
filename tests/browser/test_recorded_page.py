"""Test that the errors and requests of a page are recorded, so that the other tests of this folder can detect them."""


def test_errors_and_requests_of_a_page_are_recorded(recorded):
    recorded.page.goto("data:text/html,<h1>hi</h1><script>console.error('wrong'); missing()</script>")
    recorded.page.evaluate("fetch('http://127.0.0.1:9/').catch(() => 0)")
    assert recorded.page.inner_text("h1") == "hi"
    assert recorded.errors[:2] == ["error: wrong", "missing is not defined"]
    assert recorded.hosts == {"127.0.0.1"}
