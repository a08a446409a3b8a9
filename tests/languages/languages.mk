# The examples in other languages, and what docs/other-languages.md says of them. In one recipe,
# since some programs are made of others and all are made in a second or two.

JNA ?= /usr/share/java/jna.jar

test-languages: build ## the examples in other languages
	@JNA="$(JNA)" tests/requirements.sh languages
	CC="$(CC)" JNA="$(JNA)" PYTHON="$(PYTHON)" tests/languages/run.sh $(CURDIR)/$(LIBRARY) target/languages
