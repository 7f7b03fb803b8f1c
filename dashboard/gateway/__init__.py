"""Files of drives over HTTP. The process `gateway` reads them (`workers.gateway`); here is who may see them,
and how they are sent."""
