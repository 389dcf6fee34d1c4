"""What a kernel with cgroups offers: types, interfaces, and which backend is opened."""
