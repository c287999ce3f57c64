"""Lessons inside the app: what a lesson is, how it is read, and how far somebody has come in it.

A lesson is a folder of data, written without code: what happens in ``lesson.toml``, every word of it in ``texts.<language>.toml``,
pictures that move in ``pictures/``. Modules: ``model`` (what a lesson is), ``reading`` (folders, also of strangers), ``checks``
(what a step waits for), ``targets`` (the controls that steps point at), ``facts`` (what a project says about its learner),
``progress`` (the way through the steps), ``solutions`` (steps that the studio does), ``truth`` (what really is in the demo
region), ``library`` (all lessons of this computer, and the project for one). How a teacher writes one: docs/howto/lessons.md.
"""
