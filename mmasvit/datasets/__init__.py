"""Generated data sets (these need ``shapely``) and checks of any data."""
