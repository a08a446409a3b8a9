module kvreg-demo

go 1.19
