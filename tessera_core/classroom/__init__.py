"""A class: what its learners handed in, and the map that they make together.

Modules: ``work`` (what one learner handed in), ``matching`` (whose classes are which), ``consensus`` (the vote, and who disagrees
with whom), ``pooled`` (all labels as one head), ``judging`` (how right single maps and the class map are), ``together`` (all of
that of a class), ``byfiles`` (a class without a server). Docs: docs/howto/class.md.
"""
