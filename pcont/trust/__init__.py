"""Whether pcont may believe files, directories and attributes that others could have changed."""
