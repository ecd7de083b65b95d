"""GeoPlant as published (GeoLifeCLEF 2023, 2024, 2025 and the release of 2026): records, patches, series, values."""
