module kvreg-facts

go 1.19
