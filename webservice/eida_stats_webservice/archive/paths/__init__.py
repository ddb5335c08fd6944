"""The lookup of paths, in the form of GSKY's MAS: what is below a path, when and where."""
