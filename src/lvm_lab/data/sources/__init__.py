"""Where vectors come from, one data source a file: file stem = option of conf/data/."""
