"""One sweep as a picture, shared by the sweep and the results screens: table, charts, lines, and a cursor over its points."""
