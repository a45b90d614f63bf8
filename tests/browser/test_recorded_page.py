"""That the other tests of this folder would see what they say is not there."""


def test_what_a_page_complains_of_and_asks_for_is_seen(watched):
    watched.page.goto("data:text/html,<h1>hi</h1><script>console.error('wrong'); missing()</script>")
    watched.page.evaluate("fetch('http://127.0.0.1:9/').catch(() => 0)")
    assert watched.page.inner_text("h1") == "hi"
    assert watched.complaints[:2] == ["error: wrong", "missing is not defined"]
    assert watched.hosts == {"127.0.0.1"}
