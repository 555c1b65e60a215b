from filter_plugins.whodunit import source_tree


def test_sources_are_taken_and_leftovers_are_not(tmp_path):
    for name in ("p/__init__.py", "p/templates/a.j2", "p/__pycache__/x.pyc", "p.egg-info/PKG-INFO"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert source_tree(str(tmp_path)) == [
        {"path": "p/__init__.py", "content": "p/__init__.py"},
        {"path": "p/templates/a.j2", "content": "p/templates/a.j2"},
    ]
