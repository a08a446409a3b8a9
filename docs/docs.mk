# The pages as HTML, with the references of C, C++ and Python, and the pictures in the pages.

DOCS := target/docs
DOCS_TOOLS := target/docs-tools
DOCS_PICTURES := docs/images/drawings.py docs/images/plots.py

$(DOCS_TOOLS)/installed: docs/site/requirements.txt
	tests/requirements.sh docs
	$(PYTHON) -m venv $(DOCS_TOOLS)
	$(DOCS_TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# mkdocs builds the pages from a copy in which they lie as in the repository, with what they link to.
# Doxygen adds c/. Each stops at a warning, and then all links are followed.
docs: export NO_MKDOCS_2_WARNING := 1
docs: export KVREG_VERSION = $(VERSION)
docs: $(DOCS_TOOLS)/installed ## the pages and references as HTML, in target/docs
	tests/requirements.sh docs
	rm -rf $(DOCS) && mkdir -p $(DOCS)/source/docs/images
	cp -R *.md LICENSE-* include bindings docs/site/python.md $(DOCS)/source
	mkdir -p $(DOCS)/source/engines && cp -R engines/dir $(DOCS)/source/engines
	cp docs/*.md $(DOCS)/source/docs
	cp docs/images/*.svg $(DOCS)/source/docs/images
	find $(DOCS)/source/bindings -name __pycache__ -prune -exec rm -r {} +
	$(DOCS_TOOLS)/bin/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml
	doxygen docs/site/Doxyfile
	$(PYTHON) tests/docs/links.py $(DOCS)/html
	@echo "see $(DOCS)/html: $(PYTHON) -m http.server --directory $(DOCS)/html"

# From the tables in docs/performance.md, and by hand.
images: ## the pictures in the pages
	for script in $(DOCS_PICTURES); do $(PYTHON) $$script; done
