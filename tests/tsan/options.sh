# To be sourced. The first report ends a program, with a code that says no. addr2line is there
# wherever gcc is. Nothing is suppressed.
export TSAN_OPTIONS="halt_on_error=1 exitcode=66 external_symbolizer_path=$(command -v addr2line)"
