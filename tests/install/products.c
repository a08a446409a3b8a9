/* A program of two products, each of which links kvreg. */
#include <stdio.h>

int product_in_c(void);
int product_in_rust(void);

int main(void) {
    int wrote = product_in_c();
    int read = product_in_rust();
    printf("%d %d\n", wrote, read);
    return wrote == 0 && read == 1 ? 0 : 1;
}
