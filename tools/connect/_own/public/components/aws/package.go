// Package aws has the components for AWS that are under Apache-2.0: all but
// aws_dynamodb_cdc and the changes of MySQL and PostgreSQL on RDS.
package aws

import (
	_ "github.com/redpanda-data/connect/v4/internal/impl/aws/bedrock"
	_ "github.com/redpanda-data/connect/v4/internal/impl/aws/cloudwatch"
	_ "github.com/redpanda-data/connect/v4/internal/impl/aws/dynamodb"
	_ "github.com/redpanda-data/connect/v4/internal/impl/aws/kinesis"
	_ "github.com/redpanda-data/connect/v4/internal/impl/aws/lambda"
	_ "github.com/redpanda-data/connect/v4/internal/impl/aws/s3"
	_ "github.com/redpanda-data/connect/v4/internal/impl/aws/sns"
	_ "github.com/redpanda-data/connect/v4/internal/impl/aws/sqs"
	_ "github.com/redpanda-data/connect/v4/internal/impl/kafka/aws"
	_ "github.com/redpanda-data/connect/v4/internal/impl/opensearch/aws"
)
