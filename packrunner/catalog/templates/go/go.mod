module buildpack

go 1.22
