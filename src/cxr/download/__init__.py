"""Published files of datasets: fetched over HTTPS, checked, and unpacked where a reader finds them."""
