// RideAPI: being built.
